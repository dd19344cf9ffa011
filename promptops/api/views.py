"""The API page: the routes of the machine interface with examples, rendered from its OpenAPI document."""

from django.http import HttpResponse, JsonResponse
from django.shortcuts import render

from promptops.api.app import ROUTERS, api
from promptops.api.openapi import document_of, routes_of
from promptops.api.problems import TYPES
from promptops.api.reference import Examples, groups
from promptops.live import snapshots
from promptops.people.enums import Permission, Scope
from promptops.web.access import requires
from promptops.web.request import Request


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """Show all routes, the scopes of tokens and the kinds of problems."""
    address = request.build_absolute_uri("/").rstrip("/")
    context = {
        "groups": groups(document_of(api, routes_of(ROUTERS)), address, _examples()),
        "problems": TYPES.values(),
        "scopes": Scope,
        "address": address,
    }
    return render(request, "api/index.html", context)


def _examples() -> Examples:
    """Return names and numbers of what is live, the templates of the first operations first."""
    live = snapshots.current()
    names = {spec.id: spec for spec in live.templates}
    for operation in live.operations:
        if spec := names.get(live.defaults.get(operation, 0)):
            return Examples(spec.name, spec.version_number, operation, live.revision, live.safety.model_number or 1)
    return Examples(revision=live.revision)


@requires(Permission.READ)
def document(request: Request) -> HttpResponse:
    """Return the OpenAPI document, for people. Machines fetch it with a token."""
    return JsonResponse(document_of(api, routes_of(ROUTERS)), json_dumps_params={"indent": 1})
