"""Addresses of the API page. Those of the machine interface itself are in the routers."""

from django.urls import path

from promptops.api import views

urlpatterns = [
    path("settings/api/", views.index, name="api"),
    path("settings/api/openapi.json", views.document, name="api_document"),
]
