"""The OpenAPI document of the machine interface: the routes' own descriptions, with tokens, scopes and problems."""

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from promptops.api.access import Needs
from promptops.api.problems import MEDIA_TYPE, TYPES
from promptops.people.enums import Scope

TITLE, VERSION = "PromptOps", "1"
DESCRIPTION = (
    "Read what is live, follow it, run operations, publish and roll back. Send a token with every request: "
    "`Authorization: Bearer po_...`. Each error is a problem document (RFC 9457) with a stable `type`."
)
ALWAYS = {"400": ("malformed",), "405": ("method-not-allowed",), "500": ("internal",)}
GUARDED = {
    "401": ("token-missing", "token-invalid"),
    "403": ("scope-missing",),
    "429": ("rate-limited",),
    "503": ("busy", "unavailable", "stopping"),
}
PROBLEM_SCHEMA = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "enum": [each.uri for each in TYPES.values()]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "A sentence that says what happened and what to do."},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "For an invalid request: each field with a sentence.",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}


def scopes_of(route: APIRoute) -> tuple[Scope, ...]:
    """Return the scopes of which a route needs one; empty for a public route."""
    return next((each.scopes for each in _needs(route.dependant)), ())


def _needs(dependant: Dependant) -> Iterator[Needs]:
    for each in dependant.dependencies:
        if isinstance(each.call, Needs):
            yield each.call
        yield from _needs(each)


def routes_of(routers: Sequence[APIRouter]) -> list[APIRoute]:
    """Return the routes that the document describes. Routers do not include others."""
    routes = [route for router in routers for route in router.routes]
    return [route for route in routes if isinstance(route, APIRoute) and route.include_in_schema]


def document_of(application: FastAPI, routes: Sequence[APIRoute]) -> dict[str, Any]:
    """Return the document. It is made once."""
    if application.openapi_schema is None:
        document = get_openapi(
            title=TITLE,
            version=VERSION,
            description=DESCRIPTION,
            routes=application.routes,
            tags=application.openapi_tags,
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = PROBLEM_SCHEMA
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for route in routes:
            for method in route.methods or ():
                _complete(document["paths"][route.path_format][method.lower()], scopes_of(route))
        application.openapi_schema = document
    return application.openapi_schema


def _complete(operation: dict[str, Any], scopes: tuple[Scope, ...]) -> None:
    """Add the scopes and the problems of every route to an operation."""
    answers = operation["responses"]
    if "x-problems" not in answers.get("422", {}):
        answers.pop("422", None)  # the framework's own description of an invalid request
    problems = dict(ALWAYS) | (GUARDED if scopes else {"503": ("stopping",)})
    if operation.get("parameters") or operation.get("requestBody"):
        problems["422"] = ("invalid",)
    if operation.get("requestBody"):
        problems["413"] = ("too-large",)
    for status, names in problems.items():
        own = answers.get(status, {}).get("x-problems", [])
        answers[status] = _answer([*own, *(name for name in names if name not in own)])
    for answer in answers.values():
        if "x-problems" in answer and "content" not in answer:
            answer |= _answer(answer["x-problems"])
    if scopes:
        operation["security"] = [{"token": [*scopes]}]
        operation["x-scopes"] = [*scopes]


def _answer(names: list[str]) -> dict[str, Any]:
    return {
        "description": "; ".join(f"{TYPES[name].title}: {TYPES[name].when}" for name in names),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        "x-problems": names,
    }


def problems(*names: str) -> dict[int | str, dict[str, Any]]:
    """Return the problems of a route, beside those that every route has, for its argument `responses`."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for name in names:
        by_status.setdefault(TYPES[name].status, {"x-problems": []})["x-problems"].append(name)
    return by_status
