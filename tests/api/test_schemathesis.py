"""Requests made up from the OpenAPI document never end in an error of the server, and answers are as it declares."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import booleans
from schemathesis.core import NOT_SET
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from promptops.api.app import ROUTERS, api
from promptops.api.openapi import document_of, routes_of
from promptops.people.actions.tokens import make_token
from promptops.people.enums import Scope
from tests.api.conftest import Machine

QUIET = [*HealthCheck]
# Names and numbers that exist. Made-up ones end in 404 nearly always, and prove nothing of what is behind it.
KNOWN = {"name": "enhance", "operation": "enhance", "model": "enhance", "number": 1, "revision": 1, "expected": 1}
DECLARED = [status_code_conformance, content_type_conformance, response_schema_conformance]


def operations():
    """Return every operation of the document, and for each a strategy for its requests."""
    schema = schemathesis.openapi.from_dict(document_of(api, routes_of(ROUTERS)))
    return [operation.ok() for operation in schema.get_all_operations()]


def send(machine: Machine, case) -> int:
    """Send a made-up request, and return the status of its answer."""
    path = case.formatted_path
    body = {} if case.body is NOT_SET else {"json": case.body}
    headers = {name: str(value) for name, value in (case.headers or {}).items() if name.lower() != "authorization"}
    try:
        response = machine.request(case.method, path, params=case.query or {}, headers=headers, **body)
    except (ValueError, UnicodeError):  # a client cannot send it
        return 0
    is_unanswered = response.status_code == 502 and response.json()["type"].endswith("#unanswered")  # without providers
    assert response.status_code < 500 or is_unanswered, (case, response.text)
    assert response.status_code < 400 or response.headers["content-type"] == "application/problem+json"
    case.validate_response(response, checks=DECLARED)
    return response.status_code


def aim(case) -> None:
    """Let a request ask for what exists, and leave the rest of it as it was made up."""
    known = {name: value for name, value in KNOWN.items() if name in (case.path_parameters or {})}
    case.path_parameters = {**(case.path_parameters or {}), **known}
    if isinstance(case.body, dict):
        made_up = {name: value for name, value in case.body.items() if name not in ("session", "template")}
        case.body = made_up | {name: value for name, value in KNOWN.items() if name in case.body}


def walk(machine: Machine, examples: int) -> None:
    for operation in operations():

        @seed(18)
        @settings(
            max_examples=examples, deadline=None, database=None, suppress_health_check=QUIET, phases=[Phase.generate]
        )
        @given(case=operation.as_strategy(), is_aimed=booleans())
        def asks(case, is_aimed) -> None:
            if is_aimed:
                aim(case)
            send(machine, case)

        asks()


@pytest.fixture
def caller(actor, publish):
    publish("enhance", "First.")
    return Machine(make_token("walker", [*Scope], by=actor)[1])


@pytest.mark.django_db(transaction=True)
def test_made_up_requests_never_break_the_server(caller, monkeypatch):
    monkeypatch.setattr("promptops.api.limits.policy_of", _no_limit)
    walk(caller, 4)


@pytest.mark.proof
@pytest.mark.django_db(transaction=True)
def test_thousands_of_made_up_requests_never_break_the_server(caller, monkeypatch):
    monkeypatch.setattr("promptops.api.limits.policy_of", _no_limit)
    walk(caller, 500)


def _no_limit(scope):
    from promptops.api.limits import Policy

    return Policy("all", 10_000_000)
