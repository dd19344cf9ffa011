"""Addresses of the overview, the command bar, the help about keys, settings and health."""

from django.urls import path

from promptops.site.views import commands, errors, overview, settings

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("overview/fleet/", overview.fleet, name="overview_fleet"),
    path("overview/first-steps/hide/", overview.hide_first_steps, name="first_steps_hide"),
    path("commands/", commands.commands, name="commands"),
    path("commands/keys/", commands.keys, name="keys"),
    path("healthz", errors.health, name="health"),
    path("settings/", settings.index, name="settings"),
]
