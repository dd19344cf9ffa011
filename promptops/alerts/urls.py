"""Addresses of the Alerts page, its destinations and its messages."""

from django.urls import path

from promptops.alerts import views

urlpatterns = [
    path("settings/alerts/", views.index, name="alerts"),
    path("settings/alerts/rules/", views.rules, name="alert_rules"),
    path("settings/alerts/new/", views.new, name="destination_new"),
    path("settings/alerts/destinations/<number:pk>/", views.edit, name="destination"),
    path("settings/alerts/destinations/<number:pk>/enabled/", views.enabled, name="destination_enabled"),
    path("settings/alerts/destinations/<number:pk>/secret/", views.secret, name="destination_secret"),
    path("settings/alerts/destinations/<number:pk>/remove/", views.remove, name="destination_remove"),
    path("settings/alerts/destinations/<number:pk>/test/", views.test, name="destination_test"),
    path("settings/alerts/deliveries/<number:pk>/", views.test_state, name="delivery"),
    path("settings/alerts/deliveries/<number:pk>/cancel/", views.cancel, name="delivery_cancel"),
    path("settings/alerts/deliveries/<number:pk>/again/", views.again, name="delivery_again"),
]
