"""Publishing and rolling back by machines."""

import asyncio

import pytest
from asgiref.sync import async_to_sync

from promptops.ledger import chain as audit_chain
from promptops.ledger.models import AuditEntry, Release
from promptops.live import snapshots
from promptops.prompts.models import Template, Version
from tests.api.test_door import problem
from tests.fleet.levers import freeze

pytestmark = pytest.mark.django_db(transaction=True)

PUBLISH, ROLLBACK = "/api/v1/templates/enhance/publish", "/api/v1/templates/enhance/rollback"


@pytest.fixture
def releaser_token(machine, publish):
    publish("enhance", "First.")
    publish("enhance", "Second.", temperature=0.4)
    return machine("release", name="ci")


def live() -> Version:
    return Template.objects.get(name="enhance").live_version


def test_a_token_publishes_a_text_and_keeps_the_settings(releaser_token):
    sent = {"text": "Third.", "note": "A reason", "expected": 2}
    response = releaser_token.post(PUBLISH, json=sent, headers={"X-Request-Id": "job-1"})
    assert response.status_code == 200, response.text
    version, facts = live(), response.json()
    assert (version.body, version.temperature, version.note) == ("Third.", 0.4, "A reason")
    assert (facts["version"], facts["sha256"], facts["replaced"]) == (3, version.sha256, 2)
    assert response.headers["etag"] == f'"{version.sha256}"'
    name = "token ci, made by Ada Administrator"
    assert Release.objects.get(revision=facts["revision"]).user_name == version.author_name == name
    entry = AuditEntry.objects.get(action="template.published", seq=AuditEntry.objects.latest("seq").seq)
    assert (entry.actor_name, entry.actor, entry.address, entry.request_id) == (name, None, "192.0.2.9", "job-1")
    assert entry.token.name == "ci"
    assert audit_chain.first_bad_entry() is None


def test_a_freeze_refuses_with_its_sentence(releaser_token):
    lever = freeze(note="Bad prompts")
    for address in (PUBLISH, ROLLBACK):
        refused = problem(releaser_token.post(address, json={"version": 1, "expected": 2}), "frozen")
        assert "PromptOps froze releases until" in refused["detail"]
        assert lever.note in refused["detail"]
    assert live().number == 2


def test_a_whole_content_replaces_the_settings(releaser_token):
    content = {"body": "Third.", "max_tokens": 99}
    assert releaser_token.post(PUBLISH, json={"content": content, "expected": 2}).status_code == 200
    assert (live().max_tokens, live().temperature) == (99, None)


@pytest.mark.parametrize("body", [{"version": 1}, {}])
def test_a_rollback_makes_the_older_version_live(releaser_token, body):
    response = releaser_token.post(ROLLBACK, json=body | {"expected": 2})
    assert response.json()["version"] == live().number == 1


@pytest.mark.parametrize("route", ["publish", "rollback"])
def test_a_release_applies_to_pinned_sessions_only_if_it_says_so(releaser_token, route):
    url = PUBLISH if route == "publish" else ROLLBACK
    sent = [{"version": 1, "expected": 2}, {"version": 2, "expected": 1, "override_pins": True}]
    first, second = (releaser_token.post(url, json=each).json()["revision"] for each in sent)
    assert "override_pins" not in AuditEntry.objects.get(revision=first).after
    assert AuditEntry.objects.get(revision=second).after["override_pins"] is True
    assert list(Release.objects.filter(overrides_pins=True).values_list("revision", flat=True)) == [second]
    assert snapshots.current().pins_from == second


def test_publishing_a_number_makes_that_version_live_again(releaser_token):
    assert releaser_token.post(PUBLISH, json={"version": 1, "expected": 2}).json()["replaced"] == 2
    assert live().number == 1


@pytest.mark.parametrize("url", [PUBLISH, ROLLBACK])
def test_the_expected_version_is_required(releaser_token, url):
    body = {"version": 1}
    problem(releaser_token.post(url, json=body), "expected-missing")
    assert live().number == 2


def test_another_live_version_than_the_expected_one_is_left_alone(releaser_token):
    body = {"text": "Third."}
    for stale in ("1", f'"{Version.objects.get(number=1).sha256}"', "v2", '"nothing"'):
        document = problem(releaser_token.post(PUBLISH, json=body, headers={"If-Match": stale}), "stale")
        assert document["live"] == {"version": 2, "sha256": live().sha256}
    for expected in (0, 1, "0" * 64):
        problem(releaser_token.post(PUBLISH, json=body | {"expected": expected}), "conflict")
    assert live().number == 2


def test_if_match_takes_the_hash_the_number_and_a_list(releaser_token):
    for number, match in enumerate(("{sha}", '"{sha}"', 'W/"{number}"', '"a", "{sha}"', "*"), start=3):
        header = match.format(sha=live().sha256, number=live().number)
        response = releaser_token.post(PUBLISH, json={"text": f"Text {number}"}, headers={"If-Match": header})
        assert response.status_code == 200, (match, response.text)


def test_a_repeated_request_gets_the_first_answer(releaser_token):
    sent = {"json": {"text": "Third.", "expected": 2}, "headers": {"Idempotency-Key": "job-1"}}
    first = releaser_token.post(PUBLISH, **sent)
    again = releaser_token.post(PUBLISH, **sent)
    assert first.status_code == again.status_code == 200, again.text
    assert first.json() == again.json()
    assert Version.objects.count() == 3


def test_of_two_requests_with_one_key_at_once_one_is_made(releaser_token):
    sent = {"json": {"text": "Third.", "expected": 2}, "headers": {"Idempotency-Key": "job-1"}}

    async def both():
        return await asyncio.gather(*(releaser_token.arequest("POST", PUBLISH, **sent) for _ in range(2)))

    first, second = async_to_sync(both)()
    assert first.status_code == second.status_code == 200, (first.text, second.text)
    assert first.json() == second.json()
    assert Version.objects.count() == 3


def test_a_key_belongs_to_one_request_and_one_token(releaser_token, machine):
    headers = {"Idempotency-Key": "job-1"}
    assert releaser_token.post(PUBLISH, json={"text": "Third.", "expected": 2}, headers=headers).status_code == 200
    for url, body in ((PUBLISH, {"text": "Fourth.", "expected": 3}), (ROLLBACK, {"version": 1, "expected": 3})):
        problem(releaser_token.post(url, json=body, headers=headers), "key-reused")
    other = machine("release", name="other")
    assert other.post(ROLLBACK, json={"version": 1, "expected": 3}, headers=headers).status_code == 200


def test_a_refused_change_can_be_repeated_with_its_key(releaser_token):
    headers = {"Idempotency-Key": "job-1"}
    body = {"text": "Second.", "expected": 2}
    problem(releaser_token.post(PUBLISH, json=body, headers=headers), "refused")
    assert releaser_token.post(PUBLISH, json=body | {"text": "Third."}, headers=headers).status_code == 200


def test_old_and_surplus_answers_are_deleted(releaser_token, monkeypatch):
    from promptops.api import actions
    from promptops.api.models import IdempotentAnswer

    monkeypatch.setattr(actions, "MOST_KEPT", 2)
    for number in range(3, 7):
        body = {"text": f"Text {number}", "expected": number - 1}
        assert releaser_token.post(PUBLISH, json=body, headers={"Idempotency-Key": f"k{number}"}).status_code == 200
    assert set(IdempotentAnswer.objects.values_list("key", flat=True)) == {"k5", "k6"}
    IdempotentAnswer.objects.update(at="2020-01-01T00:00:00Z")
    assert actions.delete_old_answers() == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"text": "a", "version": 1}, "body"),
        ({"text": 1}, "text"),
        ({"text": "a\x00"}, "text"),
        ({"text": "a", "note": "x" * 501}, "note"),
        ({"text": "a", "expected": -1}, "expected"),
        ({"version": 0}, "version"),
        ({"text": "a", "override_pins": "yes"}, "override_pins"),
        ({"text": "a", "unknown": 1}, "unknown"),
        ({"content": {"body": "a", "temperature": "hot"}}, "content.temperature"),
        ({"content": {"body": "a", "temperature": 99}}, "temperature"),
    ],
)
def test_an_invalid_field_is_named(releaser_token, body, field):
    document = problem(releaser_token.post(PUBLISH, json={"expected": 2} | body), "invalid")
    assert any(each["field"].startswith(field) for each in document["errors"]), document
    assert live().number == 2


def test_what_was_sent_is_not_repeated(releaser_token):
    secret = "po_" + "s" * 43
    for body in ({"text": {"a": secret}}, {secret: 1}, {"version": secret}, {"expected": secret, "text": "a"}):
        assert secret not in releaser_token.post(PUBLISH, json=body).text


def test_an_unknown_template_or_version_is_not_found(releaser_token):
    problem(releaser_token.post("/api/v1/templates/none/publish", json={"text": "a", "expected": 0}), "not-found")
    problem(releaser_token.post(ROLLBACK, json={"version": 9, "expected": 2}), "not-found")


def test_the_audit_is_read_page_by_page(machine, publish):
    for number in range(4):
        publish("enhance", f"Text {number}")
    reader = machine("audit", name="siem")
    after, read = 0, []
    while after is not None:
        page = reader.get("/api/v1/audit", params={"after": after, "limit": 2}).json()
        read += page["entries"]
        after = page["next"]
    assert [entry["seq"] for entry in read] == list(range(1, read[-1]["seq"] + 1))
    assert AuditEntry.objects.filter(action="audit.exported", token__name="siem").count() == 1
    lines = reader.get("/api/v1/audit?limit=2", headers={"Accept": "application/jsonl"})
    assert next(line for line in lines.text.splitlines() if line).startswith('{"action"')
    assert 'rel="next"' in lines.headers["link"]
