"""The API page: the routes of the machine interface with examples, rendered from its OpenAPI document."""

from django.http import HttpResponse, JsonResponse
from django.shortcuts import render

from promptops.api.app import ROUTERS, api
from promptops.api.openapi import document_of, routes_of
from promptops.api.problems import TYPES
from promptops.api.reference import groups
from promptops.people.enums import Permission, Scope
from promptops.web.access import requires
from promptops.web.request import Request


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """Show all routes, the scopes of tokens and the kinds of problems."""
    address = request.build_absolute_uri("/").rstrip("/")
    context = {
        "groups": groups(document_of(api, routes_of(ROUTERS)), address),
        "problems": TYPES.values(),
        "scopes": Scope,
        "address": address,
    }
    return render(request, "api/index.html", context)


@requires(Permission.READ)
def document(request: Request) -> HttpResponse:
    """Return the OpenAPI document, for people. Machines fetch it with a token."""
    return JsonResponse(document_of(api, routes_of(ROUTERS)), json_dumps_params={"indent": 1})
