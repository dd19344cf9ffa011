"""Addresses of the overview, settings and health."""

from django.urls import path

from promptops.site.views import errors, overview, settings

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("healthz", errors.health, name="health"),
    path("settings/", settings.index, name="settings"),
]
