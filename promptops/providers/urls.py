"""Addresses of the Providers pages."""

from django.urls import path

from promptops.providers import views as providers

urlpatterns = [
    path("providers/", providers.index, name="providers"),
    path("providers/order/", providers.reorder, name="provider_order"),
    path("providers/new/", providers.new, name="provider_new"),
    path("providers/new/models/", providers.models, name="provider_models"),
    path("providers/new/test/", providers.trial, name="provider_trial"),
    path("providers/<number:pk>/", providers.edit, name="provider"),
    path("providers/<number:pk>/key/", providers.key, name="provider_key"),
    path("providers/<number:pk>/enabled/", providers.enabled, name="provider_enabled"),
    path("providers/<number:pk>/ask-again/", providers.ask_again, name="provider_ask_again"),
    path("providers/<number:pk>/forget/", providers.forget, name="provider_forget"),
    path("providers/<number:pk>/remove/", providers.remove, name="provider_remove"),
]
