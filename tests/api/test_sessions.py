"""Sessions: pins, segments, idle ends, other processes, outages, and forged ids."""

import time

import pytest
from django.core import signing
from django.db import OperationalError

from promptops.api import pins
from promptops.engine.snapshot import Snapshot
from promptops.ledger.models import LiveConfiguration
from promptops.ledger.releases import overriding_pins
from promptops.live import snapshots as live
from promptops.prompts.actions import operations, variables
from promptops.prompts.actions.operations import OperationFields
from tests.api.running import FOX, in_database, providers
from tests.api.test_door import problem
from tests.factories import make_provider, publish

pytestmark = pytest.mark.django_db(transaction=True)

SESSIONS, SEGMENT, ENHANCE = "/api/v1/sessions", "/api/v1/sessions/segment", "/api/v1/run/enhance"


@pytest.fixture(autouse=True)
def _nothing_kept():
    pins.kept.clear()
    yield
    pins.kept.clear()


def restarted() -> None:
    """Forget all that a process has in memory, as another process has not seen it."""
    pins.kept.clear()


async def run(caller, session: str, **more):
    return await caller.arequest("POST", ENHANCE, json={"input": "a fox", "session": session, **more})


def system(upstream) -> str:
    """Return the system prompt that the provider got last."""
    return upstream.requests[-1].body["messages"][0]["content"]


@pytest.mark.parametrize("is_other_process", [False, True])
async def test_a_session_keeps_the_text_that_it_began_with(machine, is_other_process):
    caller = await in_database(machine, "run")
    async with providers(FOX) as [upstream]:
        began = (await caller.arequest("POST", SESSIONS, json={})).json()
        assert (began["policy"], began["revision"]) == ("session", live.current().revision)
        await in_database(publish, "enhance", "A newer text.")
        if is_other_process:
            restarted()
        response = await run(caller, began["session"])
        assert (response.status_code, response.json()["revision"]) == (200, began["revision"])
        assert system(upstream) == "The enhance text."
        assert (await caller.arequest("POST", ENHANCE, json={"input": "a fox"})).json()["version"] == 2
        assert system(upstream) == "A newer text."


@pytest.mark.parametrize(("policy", "moves"), [("session", False), ("segment", True)])
async def test_only_a_segment_session_moves_on_and_only_at_a_segment(machine, policy, moves):
    caller = await in_database(machine, "run")
    async with providers(FOX) as [upstream]:
        session = (await caller.arequest("POST", SESSIONS, json={"policy": policy})).json()["session"]
        await in_database(publish, "enhance", "A newer text.")
        await run(caller, session)
        assert system(upstream) == "The enhance text."
        following = (await caller.arequest("POST", SEGMENT, json={"session": session})).json()
        await run(caller, following["session"])
        assert system(upstream) == ("A newer text." if moves else "The enhance text.")


@pytest.mark.parametrize("is_other_process", [False, True])
async def test_a_release_for_pinned_sessions_moves_a_session_to_its_text(machine, is_other_process):
    caller = await in_database(machine, "run")
    async with providers(FOX) as [upstream]:
        session = (await caller.arequest("POST", SESSIONS, json={})).json()["session"]
        await in_database(publish_for_pinned_sessions, "The corrected text.")
        await in_database(publish, "enhance", "A newer text.")
        if is_other_process:
            restarted()
        response = await run(caller, session)
        assert response.json()["revision"] == live.current().pins_from
        assert system(upstream) == "The corrected text."


def publish_for_pinned_sessions(text: str) -> None:
    with overriding_pins(True):
        publish("enhance", text)


async def test_the_chain_of_a_session_is_the_newest(machine):
    caller = await in_database(machine, "run")
    async with providers(FOX):
        session = (await caller.arequest("POST", SESSIONS, json={})).json()["session"]
        await in_database(make_provider, "p2")
        snapshot = await pins.pinned_snapshot(pins.read(session, live.current()).revision, live.current())
        assert [each.name for each in snapshot.providers] == ["p1", "p2"]
        assert snapshot.safety is live.current().safety
        assert (await run(caller, session)).status_code == 200


def test_a_snapshot_read_from_its_release_runs_as_it_did(db, actor):
    """Texts, variables, settings, contracts and defaults come back as they were."""
    variables.declare("enhance", "style", "calm", by=actor)
    publish("enhance", "Text {{ style }}.", top_p=0.5, user_template="Do: {{ input }}", examples="a\n=>\nb")
    publish("rewrite", "Text.", temperature=0.1)
    fields = OperationFields(
        "Plans.",
        input="fields",
        fields=[{"name": "scene", "description": "", "required": True, "max_characters": 40}],
        answer={"kind": "json", "schema": {"type": "object"}},
        timeout_ms=900,
    )
    operations.add("plan", fields, by=actor)
    publish("plan", "Plan it.", operation="plan", answer_rules='{"required": ["shots"]}')
    before = live.load()
    publish("enhance", "Something else.")
    earlier = pins.earlier_snapshot(before.epoch, before.revision)
    for name in ("templates", "defaults", "variables", "settings", "operations", "epoch", "revision"):
        assert getattr(earlier, name) == getattr(before, name), name


async def test_a_session_that_nobody_uses_ends_and_one_in_use_does_not(machine, monkeypatch):
    caller = await in_database(machine, "run")
    async with providers(FOX):
        session = (await caller.arequest("POST", SESSIONS, json={})).json()["session"]
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + pins.IDLE_SECONDS * 0.6)
        renewed = (await run(caller, session)).json()["session"]
        assert renewed != session
        monkeypatch.setattr(time, "time", lambda: now + pins.IDLE_SECONDS * 1.2)
        assert (await run(caller, renewed)).status_code == 200
        problem(await run(caller, session), "session-ended")


async def test_no_session_lasts_for_ever(machine, monkeypatch):
    caller = await in_database(machine, "run")
    async with providers(FOX):
        session = (await caller.arequest("POST", SESSIONS, json={})).json()["session"]
        now = time.time()
        for seconds in range(0, pins.LONGEST_SECONDS, 3_000):
            monkeypatch.setattr(time, "time", lambda seconds=seconds: now + seconds)
            session = (await run(caller, session)).json()["session"]
        monkeypatch.setattr(time, "time", lambda: now + pins.LONGEST_SECONDS + 1)
        problem(await run(caller, session), "session-ended")
        problem(await caller.arequest("POST", SEGMENT, json={"session": session}), "session-ended")


async def test_a_restored_database_ends_all_sessions(machine):
    caller = await in_database(machine, "run")
    async with providers(FOX):
        session = (await caller.arequest("POST", SESSIONS, json={})).json()["session"]

        def restore() -> None:
            LiveConfiguration.objects.update(epoch="another")
            live.refresh()

        await in_database(restore)
        problem(await run(caller, session), "session-ended")


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "nonsense",
        signing.dumps(["session", "e", 1, 2, 3], salt="another"),
        signing.dumps(["session", "e"], salt=pins.SALT),
        signing.dumps({"a": 1}, salt=pins.SALT),
        signing.dumps("text", salt=pins.SALT),
        signing.dumps(7, salt=pins.SALT),
    ],
    ids=["empty", "nonsense", "other salt", "short", "object", "text", "number"],  # their texts have the time in them
)
async def test_an_id_that_was_not_given_out_is_refused(machine, forged):
    caller = await in_database(machine, "run")
    async with providers(FOX) as [upstream]:
        problem(await run(caller, forged), "session-ended")
        assert not upstream.requests


async def test_without_the_database_sessions_begin_and_run_from_memory(machine, monkeypatch):
    caller = await in_database(machine, "run")
    async with providers(FOX) as [upstream]:
        await caller.arequest("POST", ENHANCE, json={"input": "a fox"})  # its token is in memory now

        def fails(*arguments, **named):
            raise OperationalError("gone")

        session = (await caller.arequest("POST", SESSIONS, json={})).json()["session"]
        await in_database(publish, "enhance", "A newer text.")
        monkeypatch.setattr(pins, "earlier_snapshot", fails)
        assert (await run(caller, session)).status_code == 200
        assert system(upstream) == "The enhance text."
        restarted()
        monkeypatch.setattr("promptops.platform.outages.sentence", lambda error: "The database is unavailable.")
        problem(await run(caller, session), "unavailable")
        now = (await caller.arequest("POST", SESSIONS, json={})).json()["session"]
        assert (await run(caller, now)).json()["version"] == 2


def test_memory_is_bounded():
    kept = pins.Snapshots(3)
    for revision in range(10):
        kept.keep(Snapshot(revision, (), {}, (), epoch="e"))
        kept.get(("e", 0))
    assert len(kept) == 3
    assert kept.get(("e", 0)) is not None
    assert [revision for revision in range(10) if kept.get(("e", revision))] == [0, 8, 9]
