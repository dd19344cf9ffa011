"""The routes that read what is live: the live document, its parts, stored revisions, and the files of safety models."""

import asyncio
import hashlib
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.db import OperationalError

from promptops.engine.live_document import InvalidDocument, parse_document, read_live_document, safety_model
from promptops.history.queries.revisions import stored_revision
from promptops.ledger.models import LiveConfiguration, Release
from promptops.live import documents
from promptops.live import snapshots as live
from promptops.live.waiting import Waiting
from promptops.people import tokens
from promptops.people.actions.tokens import revoke_token
from promptops.people.models import Token
from promptops.platform import outages
from promptops.prompts.actions import variables
from promptops.prompts.models import Template
from promptops.safety.models import SafetyModelVersion
from tests.api.test_door import problem
from tests.factories import get_or_make_template, make_provider, publish

pytestmark = pytest.mark.django_db(transaction=True)

LIVE = "/api/v1/live"
SECRET = "sk-very-secret-4711"


# The live document


def test_a_follower_reads_what_is_live(machine):
    make_provider("first", key=SECRET)
    publish("enhance", "Enhance it.")
    response = machine("follow").get(LIVE)
    assert response.status_code == 200, response.text
    document = parse_document(response.content)
    snapshot = read_live_document(document)
    assert (snapshot.revision, snapshot.epoch) == LiveConfiguration.objects.values_list("revision", "epoch").get()
    assert snapshot.template_for("enhance").body == "Enhance it."
    assert response.headers["etag"] == f'"{document["sha256"]}"'
    assert response.headers["promptops-revision"] == str(snapshot.revision)
    assert response.headers["cache-control"] == "private, no-cache"
    assert SECRET not in response.text


@pytest.mark.parametrize(
    ("accepts", "packs"), [("gzip", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False), ("", False)]
)
def test_it_is_packed_for_those_who_take_it(machine, accepts, packs):
    response = machine("read").get(LIVE, headers={"Accept-Encoding": accepts})
    assert response.headers.get("content-encoding") == ("gzip" if packs else None)
    assert response.content == documents.current().body  # httpx unpacks it
    document = documents.current()
    assert int(response.headers["content-length"]) == len(document.gzip if packs else document.body)
    assert response.headers["vary"] == "Accept-Encoding"


def test_a_follower_that_has_it_gets_304(machine):
    caller = machine("read")
    tag = caller.get(LIVE).headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        response = caller.get(LIVE, headers={"If-None-Match": known})
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", tag)
    publish("enhance", "Enhance it.")
    assert caller.get(LIVE, headers={"If-None-Match": tag}).status_code == 200


def test_a_revision_is_news_if_it_is_higher_or_of_another_epoch(machine):
    publish("enhance", "Enhance it.")
    caller, now = machine("read"), documents.current()

    def status(**query):
        return caller.get(LIVE, params=query).status_code

    assert status(after=now.revision - 1, epoch=now.epoch) == 200
    assert status(after=now.revision, epoch=now.epoch) == 304
    assert status(after=now.revision) == 304
    assert status(after=now.revision + 7, epoch=now.epoch) == 304
    assert status(after=now.revision + 7, epoch="the one before the restore") == 200


@pytest.mark.parametrize(
    "query",
    [
        {"after": -1},
        {"after": "x"},
        {"after": 2**70},
        {"wait": 31},
        {"wait": -1},
        {"wait": "nan"},
        {"epoch": "x" * 101},
    ],
)
def test_an_invalid_question_is_refused(machine, query):
    problem(machine("read").get(LIVE, params=query), "invalid")


def test_it_goes_on_without_the_database(machine, monkeypatch):
    caller = machine("read")
    before = caller.get(LIVE)

    def gone(*arguments, **named):
        raise OperationalError("the database is gone")

    monkeypatch.setattr("django.db.backends.utils.CursorWrapper.execute", gone)
    after = caller.get(LIVE)
    assert (after.status_code, after.content) == (200, before.content)
    assert caller.get("/api/v1/operations").status_code == 200
    assert caller.get("/api/v1/templates").status_code == 200


def test_a_token_opens_nothing_after_five_minutes_without_the_database(machine, monkeypatch):
    caller, shift = machine("read", "run"), 0.0
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + shift)
    monkeypatch.setattr(tokens, "time", clock)
    assert caller.get(LIVE).status_code == 200
    with monkeypatch.context() as outage:

        def gone(*arguments, **named):
            raise OperationalError("the database is gone")

        outage.setattr("django.db.backends.utils.CursorWrapper.execute", gone)
        shift = tokens.OFFLINE_SECONDS - 1
        assert caller.get(LIVE).status_code == 200
        shift = tokens.OFFLINE_SECONDS + 1
        for refused in (caller.get(LIVE), caller.post("/api/v1/run/enhance", json={"input": "a fox"})):
            assert problem(refused, "unavailable")["status"] == 503
            assert refused.headers["retry-after"] == "5"
    assert caller.get(LIVE).status_code == 200


def test_what_cannot_be_handed_out_is_said(machine, monkeypatch):
    def refuse(values):
        raise InvalidDocument("templates[0].text is not valid.")

    monkeypatch.setattr(documents, "read_live_document", refuse)
    live.refresh()
    assert "templates[0].text" in problem(machine("read").get(LIVE), "internal")["detail"]


# The long poll


async def polls(caller, **query):
    """Start a long poll for news, and return its task."""
    now = await documents.acurrent()
    query = {"after": now.revision, "epoch": now.epoch, "wait": 10} | query
    task = asyncio.create_task(caller.arequest("GET", LIVE, params=query))
    async with asyncio.timeout(5):
        while not documents.waiting:
            assert not task.done(), task.result().text
            await asyncio.sleep(0.005)
    return task


async def in_thread(work, *arguments, **named):
    return await documents.in_background(lambda: work(*arguments, **named))


async def test_a_release_answers_those_who_wait(machine, actor):
    caller = await in_thread(machine, "follow")
    task = await polls(caller)
    await in_thread(publish, "enhance", "Enhance it.")
    response = await asyncio.wait_for(task, 5)
    assert response.status_code == 200
    assert parse_document(response.content)["revision"] == (await documents.acurrent()).revision
    assert not documents.waiting


async def test_a_restored_database_answers_those_who_wait(machine):
    caller = await in_thread(machine, "follow")
    task = await polls(caller)
    await in_thread(LiveConfiguration.objects.update, revision=0, epoch="restored")
    await in_thread(live.refresh)
    response = await asyncio.wait_for(task, 5)
    assert parse_document(response.content)["epoch"] == "restored"


async def test_after_its_time_a_poll_ends_with_304(machine):
    caller = await in_thread(machine, "follow")
    response = await (await polls(caller, wait=0.05))
    assert response.status_code == 304


async def test_a_revoked_token_ends_its_polls(machine, actor):
    caller = await in_thread(machine, "follow")
    task = await polls(caller)
    await in_thread(lambda: revoke_token(Token.objects.get(), by=actor))
    problem(await asyncio.wait_for(task, 5), "token-invalid")


async def test_a_process_that_stops_ends_its_polls(machine):
    caller = await in_thread(machine, "follow")
    task = await polls(caller)
    documents.waiting.stop()
    response = await asyncio.wait_for(task, 5)
    problem(response, "stopping")
    assert response.headers["retry-after"]


async def test_a_bounded_number_of_polls_waits(machine, monkeypatch):
    monkeypatch.setattr(documents, "waiting", Waiting(most=1))
    caller = await in_thread(machine, "follow")
    task = await polls(caller, wait=0.2)
    now = await documents.acurrent()
    more = await caller.arequest("GET", LIVE, params={"after": now.revision, "epoch": now.epoch, "wait": 5})
    problem(more, "busy")
    assert (await task).status_code == 304


# Its parts


def test_templates_and_operations_are_those_of_the_live_document(machine):
    publish("enhance", "Enhance it.")
    caller, now = machine("read"), documents.current()
    facts = caller.get("/api/v1/templates").json()
    assert facts == {"revision": now.revision, "epoch": now.epoch, "templates": now.values["templates"]}
    assert caller.get("/api/v1/operations").json()["operations"] == now.values["operations"]
    one = caller.get("/api/v1/templates/enhance").json()
    assert one["text"] == "Enhance it."
    assert one["revision"] == now.revision
    problem(caller.get("/api/v1/templates/nobody"), "not-found")


def test_a_version_is_read_by_its_number(machine, actor):
    variables.declare("enhance", "season", "winter", by=actor)
    publish("enhance", "For {{ season }}.", note="first", temperature=0.3)
    publish("enhance", "For all seasons.")
    caller = machine("read")
    numbers = list(Template.objects.get(name="enhance").versions.values_list("number", flat=True))
    second, first, *_ = numbers
    facts = caller.get(f"/api/v1/templates/enhance@{first}").json()
    assert (facts["version"], facts["text"], facts["temperature"]) == (first, "For winter.", 0.3)
    assert (facts["note"], facts["is_live"]) == ("first", False)
    assert caller.get(f"/api/v1/templates/enhance@{second}").json()["is_live"]
    problem(caller.get("/api/v1/templates/enhance@99"), "not-found")
    problem(caller.get("/api/v1/templates/nobody@1"), "not-found")
    problem(caller.get("/api/v1/templates/enhance@x"), "invalid")
    problem(caller.get(f"/api/v1/templates/enhance@{2**40}"), "invalid")
    for name in ("Enhance", "a%00b", "%ff", "x" * 61, "a%0A"):
        problem(caller.get(f"/api/v1/templates/{name}@1"), "invalid")
        problem(caller.get(f"/api/v1/templates/{name}"), "invalid")


def test_a_draft_only_template_is_not_live(machine, actor):
    get_or_make_template("quiet", "enhance", by=actor)
    problem(machine("read").get("/api/v1/templates/quiet"), "not-found")


# Revisions


def test_a_revision_shows_what_its_release_stored_with_its_texts(machine, actor):
    make_provider("first", key=SECRET)
    variables.declare("enhance", "season", "winter", by=actor)
    publish("enhance", "For {{ season }}.", note="why", by=actor)
    then = documents.current().revision
    publish("enhance", "For all seasons.")
    caller = machine("read")
    response = caller.get(f"/api/v1/revisions/{then}")
    facts = response.json()
    assert (facts["revision"], facts["action"], facts["by"], facts["note"]) == (
        then,
        "template.published",
        actor.name,
        "why",
    )
    stored = facts["configuration"]
    template = next(each for each in stored["templates"] if each["name"] == "enhance")
    assert (template["text"], template["default"]) == ("For winter.", True)
    assert [each["name"] for each in stored["providers"]] == ["first"]
    assert SECRET not in response.text
    problem(caller.get("/api/v1/revisions/999"), "not-found")
    problem(caller.get("/api/v1/revisions/0"), "invalid")


def test_an_old_or_damaged_revision_is_no_server_error_without_a_reason(machine):
    publish("enhance", "Enhance it.")
    release, caller = Release.objects.first(), machine("read")
    Release.objects.filter(pk=release.pk).update(packed_configuration=None, changes_since=None)
    assert caller.get(f"/api/v1/revisions/{release.pk}").json()["configuration"] is None
    Release.objects.filter(pk=release.pk).update(packed_configuration=b"nonsense")
    assert "damaged" in problem(caller.get(f"/api/v1/revisions/{release.pk}"), "internal")["detail"]


def test_a_revision_of_many_templates_takes_few_queries(django_assert_max_num_queries):
    for number in range(6):
        publish(f"t{number}", "Enhance it.", operation="enhance")
    with django_assert_max_num_queries(3):
        assert len(stored_revision(documents.current().revision)["configuration"]["templates"]) >= 6


# Safety models


def test_a_follower_gets_the_file_of_the_filters_model(machine, tmp_path):
    caller = machine("follow")
    safety = read_live_document(parse_document(caller.get(LIVE).content)).safety
    response = caller.get(f"/api/v1/safety/models/{safety.model_number}")
    assert hashlib.sha256(response.content).hexdigest() == safety.model_sha256
    assert response.headers["etag"] == f'"{safety.model_sha256}"'
    (tmp_path / "model.ftz").write_bytes(response.content)
    assert safety_model(safety, Path(tmp_path / "model.ftz")).get()[0] is not None
    again = caller.get(
        f"/api/v1/safety/models/{safety.model_number}", headers={"If-None-Match": response.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    problem(caller.get("/api/v1/safety/models/99"), "not-found")


def test_a_model_without_its_file_is_missing(machine):
    SafetyModelVersion.objects.create(
        number=7, sha256="a" * 64, manifest={"file": "gone.ftz", "labels": {}, "thresholds": {}}, user_name="PromptOps"
    )
    assert "7" in problem(machine("read").get("/api/v1/safety/models/7"), "model-missing")["detail"]


# Reloading


def test_reload_reads_the_database_again(machine):
    caller, before = machine("follow"), documents.current()
    LiveConfiguration.objects.update(revision=before.revision + 5)
    facts = caller.post("/api/v1/reload").json()
    now = documents.current()
    assert facts == {"revision": before.revision + 5, "epoch": now.epoch, "sha256": now.sha256}


def test_reload_is_refused_without_the_database(machine, monkeypatch):
    caller = machine("follow")
    caller.get(LIVE)

    def gone():
        raise OperationalError("connection refused")

    monkeypatch.setattr(outages, "sentence", lambda error: "The database is unavailable.")
    monkeypatch.setattr(live, "load", gone)
    problem(caller.post("/api/v1/reload"), "unavailable")


# Tokens

ROUTES = {
    "/api/v1/live": {"read", "follow"},
    "/api/v1/revisions/1": {"read"},
    "/api/v1/operations": {"read"},
    "/api/v1/templates": {"read"},
    "/api/v1/templates/enhance": {"read"},
    "/api/v1/templates/enhance@1": {"read"},
    "/api/v1/safety/models/1": {"read", "follow"},
    "/api/v1/reload": {"follow"},
}


def test_each_route_needs_its_scope(machine):
    callers = {scope: machine(scope, name=scope) for scope in ("read", "follow", "run", "release", "audit")}
    for route, scopes in ROUTES.items():
        for scope, caller in callers.items():
            response = caller.post(route) if route.endswith("reload") else caller.get(route)
            assert (response.status_code == 403) == (scope not in scopes), (route, scope, response.text)
