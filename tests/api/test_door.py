"""The frame of the machine interface: the way in, request ids, headers, limits, draining, and errors."""

import pytest

from promptops.api import errors
from promptops.api.problems import TYPES
from promptops.people.actions.tokens import revoke_token
from promptops.people.models import Token
from promptops.platform.draining import gate
from tests.api.conftest import Machine

pytestmark = pytest.mark.django_db(transaction=True)


def problem(response, name):
    """Return the problem document, which must be of this kind."""
    document = response.json()
    assert (document["type"], response.status_code) == (TYPES[name].uri, TYPES[name].status), document
    assert response.headers["content-type"] == "application/problem+json"
    assert document["status"] == response.status_code
    assert document["request_id"] == response.headers["x-request-id"]
    return document


def test_a_token_sees_itself(machine):
    response = machine("read", "run", server="gpu-7", days=30).get("/api/v1/token")
    assert response.status_code == 200, response.text
    facts = response.json()
    assert (facts["name"], facts["scopes"], facts["server"]) == ("fleet", ["read", "run"], "gpu-7")
    assert facts["made_by"] == "Ada Administrator"
    assert facts["expires_at"]


def test_a_revoked_token_opens_nothing_at_once(machine, actor):
    caller = machine("read")
    assert caller.get("/api/v1/token").status_code == 200
    revoke_token(Token.objects.get(), by=actor)
    problem(caller.get("/api/v1/token"), "token-invalid")


@pytest.mark.parametrize("sent", ["", "Basic YTpi", "Bearer", "po_" + "a" * 43])
def test_a_request_without_a_bearer_token_is_asked_for_one(db, sent):
    response = Machine().get("/api/v1/token", headers={"Authorization": sent})
    problem(response, "token-missing")
    assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS"])
def test_another_method_is_refused(machine, method):
    problem(machine("read").request(method, "/api/v1/token"), "method-not-allowed")


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/v1/nothing", "/api/v1/token/", "/v1", "/v1/nothing"])
def test_an_unknown_address_is_a_problem(db, path):
    problem(Machine().get(path), "not-found")


def test_the_request_id_of_the_client_is_kept_if_it_is_safe(machine):
    caller = machine("read")
    assert caller.get("/api/v1/token", headers={"X-Request-Id": "job-17"}).headers["x-request-id"] == "job-17"
    for unsafe in ("a b", "x" * 65, "a;b", ""):
        assert caller.get("/api/v1/token", headers={"X-Request-Id": unsafe}).headers["x-request-id"] != unsafe


def test_no_answer_may_be_stored_or_sniffed(machine):
    headers = machine("read").get("/api/v1/token").headers
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")


def test_a_token_has_a_quota(machine, settings):
    settings.API_REQUESTS_PER_MINUTE = 3
    caller = machine("read")
    left = [caller.get("/api/v1/token").headers["ratelimit"] for _ in range(3)]
    assert [header.split(";")[1] for header in left] == ["r=2", "r=1", "r=0"]
    refused = caller.get("/api/v1/token")
    problem(refused, "rate-limited")
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["ratelimit-policy"] == '"requests";q=3;w=60'


def test_a_stopping_process_sends_machines_elsewhere(machine, monkeypatch):
    caller = machine("read")
    monkeypatch.setattr(gate, "closed", True)
    assert "retry-after" in caller.get("/api/v1/token").headers
    problem(caller.get("/api/v1/token"), "stopping")


def test_an_error_of_ours_is_a_problem_without_details(machine, monkeypatch, caplog):
    def fails(**facts):
        raise RuntimeError("secret detail")

    monkeypatch.setattr("promptops.api.tokens.OwnToken", fails)
    response = machine("read").get("/api/v1/token")
    problem(response, "internal")
    assert "secret" not in response.text
    assert "secret detail" in caplog.text


@pytest.mark.parametrize("name", sorted(TYPES))
def test_every_kind_of_problem_has_an_answer(name):
    from promptops.api.problems import Problem

    answer = errors.answer_of(Problem(TYPES[name].status, name, "Because."))
    assert answer.status_code == TYPES[name].status
