"""Running an operation over HTTP: results, problems, events, safety, deadlines, outages, and what is recorded."""

import asyncio
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.urls import reverse

from promptops.api import answers
from promptops.api.running import _events
from promptops.engine.snapshot import Lever
from promptops.ledger.audit import SYSTEM
from promptops.live import snapshots as live
from promptops.prompts.actions import operations
from promptops.prompts.actions.operations import OperationFields
from promptops.runs.actions import recording
from promptops.runs.actions.recording import recorder
from promptops.runs.machines import Wishes, plan_run
from promptops.runs.models import Run
from tests.api.running import BROKEN, FOX, deny, in_database, providers, recorded, text_answer
from tests.api.test_door import problem
from tests.engine.helpers import answer_with, hang, part
from tests.factories import publish
from tests.runs.test_previews import streamed

pytestmark = pytest.mark.django_db(transaction=True)

ENHANCE = "/api/v1/run/enhance"
SCENE = OperationFields(
    "Plans.",
    input="fields",
    fields=[{"name": "scene", "description": "", "required": True, "max_characters": 40}],
    answer={"kind": "json", "schema": {"type": "object"}},
)


def events_of(text: str) -> list[tuple[str, dict]]:
    """Return the name and the data of each server-sent event."""
    pairs = [each.split("\n") for each in text.strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in pairs]


# Results


async def test_a_run_is_answered_and_recorded(machine):
    caller = await in_database(machine, "run", name="gpu-fleet")
    async with providers(FOX) as [upstream]:
        response = await caller.arequest("POST", ENHANCE, json={"input": "a fox"}, headers={"X-Request-Id": "job-1"})
    assert response.status_code == 200, response.text
    answer = response.json()
    snapshot = live.current()
    assert (answer["status"], answer["content"], answer["alternatives"]) == ("succeeded", "A red fox.", None)
    assert (answer["template"], answer["version"], answer["provider"], answer["model"]) == ("enhance", 1, "p1", "m1")
    assert (answer["revision"], answer["epoch"]) == (snapshot.revision, snapshot.epoch)
    assert response.headers["promptops-revision"] == str(snapshot.revision)
    assert [attempt["outcome"] for attempt in answer["attempts"]] == ["succeeded"]
    assert answer["latency_ms"] >= answer["attempts"][0]["latency_ms"] > 0
    sent = upstream.requests[0].body
    assert [each["content"] for each in sent["messages"]] == ["The enhance text.", "a fox"]
    [run] = await recorded()
    assert (str(run.public_id), run.source, run.token.name, run.request_id) == (
        answer["run"],
        "api",
        "gpu-fleet",
        "job-1",
    )
    assert (run.template.name, run.version.number, run.revision) == ("enhance", 1, snapshot.revision)
    assert (run.input, run.output, run.draft_body) == ("a fox", "A red fox.", "")


async def test_the_pages_show_the_run_and_its_token(machine, client_for, viewer):
    caller = await in_database(machine, "run", name="gpu-fleet")
    async with providers(FOX):
        answer = (await caller.arequest("POST", ENHANCE, json={"input": "a fox"})).json()
    [run] = await recorded()

    def pages() -> None:
        client = client_for(viewer)
        assert client.get(answer["url"]).url == reverse("run", args=[run.pk])
        assert "gpu-fleet" in client.get(reverse("run", args=[run.pk])).content.decode()
        listed = client.get(f"{reverse('runs')}?source=api").content.decode()
        assert "gpu-fleet" in listed
        assert "a fox" not in client.get(f"{reverse('runs')}?source=preview").content.decode()
        unknown = reverse("run_by_public_id", args=["00000000-0000-4000-8000-000000000000"])
        assert client.get(unknown).status_code == 404

    await in_database(pages)


async def test_alternatives_are_counted_and_listed(machine):
    caller = await in_database(machine, "run")
    async with providers(text_answer("A red fox.\nA grey fox.")) as [upstream]:
        response = await caller.arequest("POST", "/api/v1/run/rewrite", json={"input": "a fox", "count": 2})
    assert response.json()["alternatives"] == ["A red fox.", "A grey fox."]
    assert "exactly 2 alternatives" in upstream.requests[0].body["messages"][0]["content"]


async def test_a_list_takes_its_prompts_oldest_first(machine):
    caller = await in_database(machine, "run")
    async with providers(FOX) as [upstream]:
        response = await caller.arequest("POST", "/api/v1/run/auto_extend", json={"input": ["One.", "Two."]})
    assert response.status_code == 200, response.text
    assert upstream.requests[0].body["messages"][1]["content"] == "One.\nTwo."


async def test_fields_give_data(machine):
    caller = await in_database(machine, "run")
    await in_database(operations.add, "plan", SCENE, by=SYSTEM)
    await in_database(publish, "plan", "Plan it.", operation="plan")
    async with providers(text_answer('{"shots": [1]}')) as [upstream]:
        response = await caller.arequest("POST", "/api/v1/run/plan", json={"fields": {"scene": "snow"}})
    assert response.json()["data"] == {"shots": [1]}
    assert json.loads(upstream.requests[0].body["messages"][1]["content"]) == {"scene": "snow"}


async def test_another_template_can_be_named(machine):
    caller = await in_database(machine, "run")
    async with providers(FOX) as [upstream]:
        await in_database(publish, "calm", "Be calm.", operation="enhance")
        response = await caller.arequest("POST", ENHANCE, json={"input": "a fox", "template": "calm"})
    assert (response.json()["template"], response.json()["version"]) == ("calm", 1)
    assert upstream.requests[0].body["messages"][0]["content"] == "Be calm."


async def test_an_earlier_revision_runs_its_text_on_the_newest_chain(machine):
    caller = await in_database(machine, "run")
    async with providers(BROKEN, FOX) as [_, second]:
        before = live.current().revision
        await in_database(publish, "enhance", "A newer text.")
        response = await caller.arequest("POST", ENHANCE, json={"input": "a fox", "revision": before})
    assert (response.json()["revision"], response.json()["version"]) == (before, 1)
    assert second.requests[0].body["messages"][0]["content"] == "The enhance text."
    assert response.json()["fallback_used"]
    [run] = await recorded()
    assert (run.revision, run.version.number) == (before, 1)


# Requests that cannot run


@pytest.mark.parametrize(
    ("path", "sent", "name", "field"),
    [
        ("enhance", {"input": " "}, "invalid", "input"),
        ("enhance", {"input": "x" * 16_001}, "invalid", None),
        ("enhance", {"input": ["a", "b"]}, "invalid", "input"),
        ("enhance", {"fields": {"scene": "x"}}, "invalid", "fields"),
        ("enhance", {"fields": {}}, "invalid", "fields"),
        ("enhance", {}, "invalid", None),
        ("enhance", {"input": "a\x00b"}, "invalid", "input"),
        ("enhance", {"input": "a fox", "count": 2}, "invalid", "count"),
        ("rewrite", {"input": "a fox", "count": 0}, "invalid", "count"),
        ("enhance", {"input": "a fox", "template": "rewrite"}, "invalid", "template"),
        ("auto_extend", {"input": "a fox", "on_failure": "input"}, "invalid", "on_failure"),
        ("enhance", {"input": "a fox", "deadline_ms": 0}, "invalid", "deadline_ms"),
        ("enhance", {"input": "a fox", "temperature": 2}, "invalid", "temperature"),
        ("enhance", {"input": "a fox", "revision": 1, "session": "x"}, "invalid", None),
        ("nothing", {"input": "a fox"}, "not-found", None),
        ("enhance", {"input": "a fox", "revision": 99_999}, "not-found", None),
    ],
)
async def test_a_request_that_cannot_run_is_refused_and_nothing_runs(machine, path, sent, name, field):
    caller = await in_database(machine, "run")
    async with providers(FOX) as [upstream]:
        document = problem(await caller.arequest("POST", f"/api/v1/run/{path}", json=sent), name)
    assert not upstream.requests
    if field:
        assert [error["field"] for error in document["errors"]] == [field]


async def test_a_full_process_refuses_further_runs(machine, monkeypatch):
    caller = await in_database(machine, "run")
    monkeypatch.setattr(answers, "MOST_AT_ONCE", 0)
    async with providers(FOX):
        for accept in ("application/json", "text/event-stream"):
            response = await caller.arequest("POST", ENHANCE, json={"input": "a fox"}, headers={"Accept": accept})
            problem(response, "busy")


# Runs without an answer


@pytest.mark.parametrize(
    ("on_failure", "name"), [(None, "unanswered"), ("error", "unanswered"), ("hold", "keep-running"), ("input", "")]
)
async def test_the_caller_may_choose_what_happens_without_an_answer(machine, on_failure, name):
    caller = await in_database(machine, "run")
    async with providers(BROKEN):
        response = await caller.arequest("POST", ENHANCE, json={"input": "a fox", "on_failure": on_failure})
    if name:
        document = problem(response, name)
        assert {attempt["outcome"] for attempt in document["run"]["attempts"]} == {"failed"}
    else:
        answer = response.json()
        assert (response.status_code, answer["status"], answer["content"]) == (200, "unchanged", "a fox")
        assert (answer["provider"], bool(answer["note"])) == ("", True)
    [run] = await recorded()
    assert run.status == ("failed" if name else "unchanged")


async def test_the_deadline_ends_a_slow_run(machine):
    caller = await in_database(machine, "run")
    async with providers(answer_with(then=hang())):
        response = await caller.arequest("POST", ENHANCE, json={"input": "a fox", "deadline_ms": 60})
    document = problem(response, "unanswered")
    assert document["run"]["latency_ms"] < 5_000
    assert document["run"]["attempts"][0]["error_kind"] == "timeout"


async def test_a_blocked_input_reaches_no_provider(machine):
    caller = await in_database(machine, "run")
    async with providers(FOX) as [upstream]:
        await in_database(deny, "evil fox")
        response = await caller.arequest("POST", ENHANCE, json={"input": "an evil fox", "on_failure": "input"})
    document = problem(response, "blocked")
    assert (document["side"], document["category"]) == ("input", "violence")
    assert [(check["side"], check["blocked"]) for check in document["safety"]["checks"]] == [("input", True)]
    assert not upstream.requests
    [run] = await recorded()
    assert (run.status, run.input_masked) == ("blocked", True)


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_a_blocked_answer_never_reaches_the_caller(machine, accept):
    caller = await in_database(machine, "run")
    respond = answer_with(*streamed("An evil ", "fox.")) if "stream" in accept else text_answer("An evil fox.")
    async with providers(respond):
        await in_database(deny, "evil fox")
        response = await caller.arequest("POST", ENHANCE, json={"input": "a fox"}, headers={"Accept": accept})
    assert "An evil" not in response.text
    document = events_of(response.text)[-1][1] if "stream" in accept else problem(response, "blocked")
    assert (document["side"], document["status"]) == ("output", 422)


async def test_in_shadow_mode_the_answer_does_not_wait_for_the_verdict(machine):
    caller = await in_database(machine, "run")
    async with providers(FOX):
        await in_database(deny, "a fox", mode="shadow")
        response = await caller.arequest("POST", ENHANCE, json={"input": "a fox"})
    assert response.json()["safety"]["mode"] == "shadow"
    [run] = await recorded()
    assert (run.status, run.input_masked) == ("succeeded", True)


async def test_a_pass_through_lets_the_input_go_on(machine, monkeypatch):
    caller = await in_database(machine, "run")
    async with providers(FOX) as [upstream]:
        until = datetime.now(UTC) + timedelta(hours=1)
        lever = Lever("pass_through", "enhance", until, note="Providers are down", by="Rita")
        monkeypatch.setattr(live, "_current", replace(live.current(), levers=(lever,)))
        response = await caller.arequest("POST", ENHANCE, json={"input": "a fox"})
    assert (response.json()["status"], response.json()["content"]) == ("unchanged", "a fox")
    assert "Rita" in response.json()["note"]
    assert not upstream.requests


# Events


async def test_events_come_as_they_happen(machine):
    caller = await in_database(machine, "run")
    async with providers(BROKEN, answer_with(*streamed("A red ", "fox."))):
        response = await caller.arequest(
            "POST", ENHANCE, json={"input": "a fox"}, headers={"Accept": "text/event-stream"}
        )
    assert response.headers["content-type"].startswith("text/event-stream")
    happened = events_of(response.text)
    names = [name for name, _ in happened]
    assert names[:3] == ["attempt", "failed", "attempt"]
    assert "".join(data["text"] for name, data in happened if name == "text") == "A red fox."
    assert (names[-1], happened[-1][1]["content"], happened[-1][1]["provider"]) == ("done", "A red fox.", "p2")
    [run] = await recorded()
    assert str(run.public_id) == happened[-1][1]["run"]


async def test_a_caller_that_leaves_cancels_its_stream(machine):
    async with providers(answer_with(part(b""), then=hang())):
        snapshot = await live.acurrent()
        plan = plan_run(snapshot, "enhance", "a fox", Wishes(), token=1, request_id="", delivery="stream")
        stream = _events(plan, None)
        assert (await anext(stream)).startswith("event: attempt")
        await stream.aclose()
    [run] = await recorded()
    assert run.status == "canceled"
    assert answers._in_progress == 0


# Without the database


async def test_runs_go_on_while_the_database_is_unavailable(machine, monkeypatch):
    caller = await in_database(machine, "run")
    async with providers(FOX):
        body = {"input": "a fox"}
        assert (await caller.arequest("POST", ENHANCE, json=body)).status_code == 200
        await recorded(1)

        def fails(ended):
            raise OperationalError("server closed the connection unexpectedly")

        with monkeypatch.context() as outage:
            outage.setattr(recording, "RETRY_SECONDS", 0.05)
            outage.setattr(recording, "record_runs", fails)
            outage.setattr(recording.outages, "kind", lambda error: "lost")
            outage.setattr(recording, "recorded_runs", lambda outcomes: [None] * len(outcomes))
            for _ in range(3):
                response = await caller.arequest("POST", ENHANCE, json=body)
                assert (response.status_code, response.json()["content"]) == (200, "A red fox.")
            async with asyncio.timeout(5):
                while recorder.status.waiting < 3:  # noqa: ASYNC110 -- it is counted in another thread
                    await asyncio.sleep(0.01)
        assert len(await recorded(4)) == 4
    assert (await Run.objects.acount()) == 4


async def test_a_run_reads_no_database(machine, monkeypatch):
    caller = await in_database(machine, "run")
    async with providers(FOX):
        body = {"input": "a fox"}
        await caller.arequest("POST", ENHANCE, json=body)
        await recorded(1)
        threads = []
        cursor = BaseDatabaseWrapper.cursor

        def watched(self):
            threads.append(threading.current_thread().name)
            return cursor(self)

        with monkeypatch.context() as watch:
            watch.setattr(BaseDatabaseWrapper, "cursor", watched)
            assert (await caller.arequest("POST", ENHANCE, json=body)).status_code == 200
            async with asyncio.timeout(5):
                while not threads:  # noqa: ASYNC110 -- another thread records
                    await asyncio.sleep(0.01)
        await recorded(2)
    assert {name.partition("_")[0] for name in threads} == {"runs"}
