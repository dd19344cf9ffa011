"""Addresses of servers, roll-outs and levers."""

from django.urls import path

from promptops.fleet.views import levers
from promptops.fleet.views import servers as views

urlpatterns = [
    path("fleet/", views.index, name="fleet"),
    path("fleet/count/", views.count, name="fleet_count"),
    path("fleet/notices/", views.notices, name="fleet_notices"),
    path("fleet/servers/<number:pk>/", views.detail, name="server"),
    path("fleet/servers/<number:pk>/forget/", views.forget, name="server_forget"),
    path("fleet/rollouts/<number:revision>/", views.rollout, name="rollout"),
    path("levers/", levers.index, name="levers"),
    path("levers/panel/", levers.panel, name="lever_panel"),
    path("levers/changes/", levers.changes, name="lever_changes"),
    path("levers/pull/", levers.pull, name="lever_pull"),
    path("levers/end/", levers.end, name="lever_end"),
    path("levers/undo/<number:revision>/", levers.undo, name="lever_undo"),
]
