"""Addresses of the Runs pages."""

from django.urls import path

from promptops.runs import views as runs

urlpatterns = [
    path("runs/", runs.index, name="runs"),
    path("runs/answers/", runs.kept_answers, name="run_answers"),
    path("runs/<number:pk>/", runs.detail, name="run"),
    path("runs/<uuid:public_id>/", runs.of_machine, name="run_by_public_id"),
    path("runs/<number:pk>/erase/", runs.erase, name="run_erase"),
    path("runs/<number:pk>/reveal/", runs.reveal, name="run_reveal"),
]
