"""Addresses of servers and roll-outs."""

from django.urls import path

from promptops.fleet import views

urlpatterns = [
    path("fleet/", views.index, name="fleet"),
    path("fleet/count/", views.count, name="fleet_count"),
    path("fleet/notices/", views.notices, name="fleet_notices"),
    path("fleet/servers/<number:pk>/", views.detail, name="server"),
    path("fleet/servers/<number:pk>/forget/", views.forget, name="server_forget"),
    path("fleet/rollouts/<number:revision>/", views.rollout, name="rollout"),
]
