"""Every route of the machine interface, asked with a missing, wrong, expired, revoked and under-scoped token.

The routes come from the application, so a new route is covered as soon as it is there.
"""

import inspect
import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from promptops.api.app import ROUTERS, api
from promptops.api.openapi import document_of, routes_of, scopes_of
from promptops.people.actions.tokens import make_token, revoke_token
from promptops.people.enums import Scope
from promptops.people.models import Token
from tests.api.conftest import Machine
from tests.api.test_door import problem

ROUTES = routes_of(ROUTERS)
PUBLIC = {"/api/v1/problems"}
GUARDED = [(method, route) for route in ROUTES for method in sorted(route.methods) if route.path not in PUBLIC]
IDS = [f"{method} {route.path}" for method, route in GUARDED]


def address(route):
    """Return an address of the route; every parameter has a value that may exist."""
    return re.sub(r"{[^}]*}", "1", route.path)


def test_only_these_routes_are_public():
    assert {route.path for route in ROUTES if not scopes_of(route)} == PUBLIC


def test_the_walk_knows_all_routes():
    assert {(route.path_format, method.lower()) for route in ROUTES for method in route.methods} == {
        (path, method) for path, operations in document_of(api, ROUTES)["paths"].items() for method in operations
    }
    assert all(route.include_in_schema for router in ROUTERS for route in router.routes)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_no_route_runs_in_threads_of_the_framework(route):
    """Their number has no bound that PromptOps sets, and they would keep connections to the database."""
    assert inspect.iscoroutinefunction(route.endpoint)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("method", "route"), GUARDED, ids=IDS)
def test_no_route_opens_without_its_token(method, route, actor, administrator):
    url = address(route)
    problem(Machine().request(method, url), "token-missing")
    for wrong in ("po_" + "a" * 43, "wrong", "po_\udcff"):
        try:
            response = Machine(wrong).request(method, url)
        except UnicodeEncodeError:  # no client can send it
            continue
        problem(response, "token-invalid")
    expired, text = make_token("expired", [*Scope], by=actor, days=1)
    Token.objects.filter(pk=expired.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    problem(Machine(text).request(method, url), "token-invalid")
    revoked, text = make_token("revoked", [*Scope], by=actor)
    revoke_token(revoked, by=actor)
    problem(Machine(text).request(method, url), "token-invalid")
    if others := set(Scope) - set(scopes_of(route)):
        document = problem(Machine(make_token("narrow", others, by=actor)[1]).request(method, url), "scope-missing")
        assert document["scopes"] == list(scopes_of(route))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("method", "route"), GUARDED, ids=IDS)
def test_no_session_opens_a_route(method, route, administrator):
    client = Client()
    client.force_login(administrator, backend="django.contrib.auth.backends.ModelBackend")
    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    problem(Machine().request(method, address(route), headers={"Cookie": cookies}), "token-missing")


@pytest.mark.django_db(transaction=True)
def test_no_token_opens_a_page(actor):
    text = make_token("fleet", [*Scope], by=actor)[1]
    response = Client(headers={"Authorization": f"Bearer {text}"}).get("/audit/")
    assert response.status_code == 302
    assert "/sign-in/" in response["Location"]
