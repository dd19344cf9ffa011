"""Freeze and pass-through: pulling, what they refuse, their end, and their part of what is live."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone

from promptops.api.errors import problem_of
from promptops.engine.live_document import live_document, read_live_document
from promptops.fleet.actions import levers
from promptops.fleet.enums import LeverKind
from promptops.fleet.following import end_levers
from promptops.fleet.models import Lever
from promptops.ledger.audit import SYSTEM
from promptops.ledger.errors import Frozen, Stale
from promptops.ledger.models import AuditEntry, LiveConfiguration, Release
from promptops.live import snapshots as live
from promptops.prompts.actions import importing, operations, releases, variables
from promptops.prompts.actions.operations import OperationFields
from promptops.prompts.content import Content
from promptops.prompts.models import Draft, Template, Version
from promptops.providers.actions import chain
from promptops.safety.actions import filter_settings
from promptops.safety.earlier import SafetyChange
from promptops.site import actions as settings
from tests.factories import make_provider
from tests.fleet.levers import freeze, in_an_hour, let_expire, pass_through

pytestmark = pytest.mark.django_db


def revision() -> int:
    return LiveConfiguration.objects.get().revision


def test_a_lever_is_one_release_and_part_of_what_is_live(actor):
    before = revision()
    lever = pass_through(by=actor)
    assert revision() == lever.pulled_revision == before + 1
    release = Release.objects.get(pk=before + 1)
    assert (release.action, release.note) == ("lever.pulled", lever.note)
    assert release.configuration["levers"] == [
        {
            "kind": "pass_through",
            "operation": "enhance",
            "note": lever.note,
            "expires_at": lever.expires_at.isoformat(),
            "by": "Ada Administrator",
        }
    ]
    snapshot = live.refresh()
    assert snapshot.passes_through("enhance", timezone.now()).by == "Ada Administrator"
    assert snapshot.passes_through("rewrite", timezone.now()) is None
    assert snapshot.passes_through("enhance", lever.expires_at) is None
    assert read_live_document(live_document(snapshot)).levers == snapshot.levers


@pytest.mark.parametrize(
    ("kind", "operation", "minutes", "note", "field"),
    [
        ("freeze", "", 60, " ", "note"),
        ("freeze", "", 0, "Why", "until"),
        ("freeze", "", -60, "Why", "until"),
        ("freeze", "", 24 * 60 + 1, "Why", "until"),
        ("pass_through", "", 60, "Why", "operation"),
        ("pass_through", "unheard_of", 60, "Why", "operation"),
        ("pass_through", "auto_extend", 60, "Why", "operation"),
    ],
)
def test_what_no_lever_can_be_is_refused(actor, kind, operation, minutes, note, field):
    expires_at = timezone.now() + timedelta(minutes=minutes)
    with pytest.raises(ValidationError) as refused:
        levers.pull(LeverKind(kind), by=actor, note=note, expires_at=expires_at, operation=operation)
    assert set(refused.value.message_dict) == {field}
    assert (revision(), Lever.objects.count()) == (0, 0)


def test_a_lever_is_pulled_once_and_can_be_pulled_again_after_its_end(actor):
    lever = freeze(by=actor)
    with pytest.raises(Stale, match="Ada Administrator froze releases"):
        freeze()
    pass_through()
    pass_through("rewrite")
    let_expire(lever)
    again = freeze(note="Again")
    lever.refresh_from_db()
    assert (lever.ended_revision, lever.ended_by) == (again.pulled_revision, "PromptOps")
    assert levers.end_expired() == []


def test_an_early_end_is_a_release_of_the_person(actor):
    lever = freeze(by=actor)
    levers.end(lever, by=actor)
    assert revision() == lever.ended_revision == lever.pulled_revision + 1
    entry = AuditEntry.objects.get(action="lever.ended")
    assert (entry.actor_name, entry.after) == ("Ada Administrator", {"ended": "early"})
    with pytest.raises(Stale):
        levers.end(lever, by=actor)
    assert revision() == lever.ended_revision
    assert live.refresh().levers == ()


def test_an_expired_lever_is_ended_once_by_promptops(actor):
    lever = freeze(by=actor)
    assert levers.end_expired() == []
    let_expire(lever)
    late = list(Lever.objects.filter(ended_at=None))  # as another process has read it
    assert levers.end_expired() == [lever]
    assert not any(levers._end_once(each) for each in late)
    assert revision() == lever.pulled_revision + 1
    entry = AuditEntry.objects.get(action="lever.ended")
    assert (entry.actor_name, entry.after) == (SYSTEM.name, {"ended": "expired"})


def test_an_expired_freeze_no_longer_holds_before_its_end_is_released(actor, publish):
    let_expire(freeze(by=actor))
    publish("enhance", "Text")


@pytest.fixture
def frozen(actor, publish):
    """Everything that a release could change, and then a freeze."""
    version = publish("enhance", "First")
    publish("enhance", "Second")
    make_provider("first", by=actor)
    make_provider("second", by=actor)
    variables.declare("enhance", "mood", "calm", by=actor)
    freeze(by=actor)
    return version


def changed_settings(actor):
    config = LiveConfiguration.objects.get()
    wanted = settings.Settings(9_000, config.temperature, config.max_tokens, config.run_retention_days)
    settings.change_settings(wanted, by=actor, expected=config.settings_revision)


def reversed_chain(actor):
    order = [provider.pk for provider in chain.Provider.objects.all()]
    chain.reorder(order[::-1], by=actor, expected=order)


RELEASES = {
    "publish": lambda version, by: releases.publish(
        version.template, Content("Third"), by=by, expected=Template.objects.get().live_version_id
    ),
    "roll back": lambda version, by: releases.roll_back(
        version, by=by, expected=Template.objects.get().live_version_id
    ),
    "order": lambda version, by: reversed_chain(by),
    "settings": lambda version, by: changed_settings(by),
    "variable": lambda version, by: variables.declare("enhance", "season", "winter", by=by),
    "operation": lambda version, by: operations.add("caption", OperationFields("Names a clip."), by=by),
    "provider": lambda version, by: make_provider("third", by=by),
    "looser safety": lambda version, by: filter_settings.change_safety(SafetyChange(mode="off"), by=by, expected=0),
}


@pytest.mark.parametrize("name", RELEASES)
def test_a_freeze_refuses_releases_and_leaves_nothing_behind(frozen, actor, name):
    before = (revision(), Version.objects.count(), AuditEntry.objects.count())
    with pytest.raises(Frozen, match=r"Ada Administrator froze releases until \d{4}-.*: Bad prompts"):
        RELEASES[name](frozen, actor)
    assert (revision(), Version.objects.count(), AuditEntry.objects.count()) == before


def test_a_freeze_refuses_imports(frozen, actor):
    text = importing.Text("imported", "enhance", "Body")
    with pytest.raises(importing.NotImported, match="Ada Administrator froze releases"):
        importing.import_versions([text], by=actor)
    assert not Template.objects.filter(name="imported").exists()


def test_during_a_freeze_providers_turn_on_and_off_and_safety_gets_stricter(frozen, actor):
    provider = chain.Provider.objects.first()
    chain.set_enabled(provider, False, by=actor)
    chain.set_enabled(provider, True, by=actor)
    filter_settings.change_safety(SafetyChange(mode="enforce"), by=actor, expected=0)
    pass_through(by=actor)
    assert not Draft.objects.exists()


def test_machines_get_the_sentence_as_a_problem():
    problem = problem_of(Frozen("Ada froze releases until tomorrow."))
    assert (problem.status, problem.type.name, problem.detail) == (423, "frozen", "Ada froze releases until tomorrow.")


@pytest.mark.django_db(transaction=True)
def test_competing_processes_end_a_lever_once(actor):
    """Each thread has a connection of its own, as each process has. All have read that the lever has expired."""
    lever = freeze(by=actor)
    let_expire(lever)
    ready = Barrier(4, timeout=5)

    def end_it(_: int) -> bool:
        late = Lever.objects.get()
        ready.wait()
        try:
            return levers._end_once(late)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(end_it, range(4)))
    assert sorted(ended) == [False, False, False, True]
    assert AuditEntry.objects.filter(action="lever.ended").count() == 1
    assert revision() == Release.objects.first().revision == lever.pulled_revision + 1


@pytest.mark.django_db(transaction=True)
def test_a_process_ends_what_its_snapshot_shows_as_expired(actor, monkeypatch):
    lever = freeze(by=actor)
    let_expire(lever)
    live.refresh()

    async def until_ended() -> None:
        loop, swapped = asyncio.get_running_loop(), asyncio.Event()
        monkeypatch.setattr(live, "SWAPPED", [lambda before, after: loop.call_soon_threadsafe(swapped.set)])
        task = asyncio.create_task(end_levers())
        try:
            await swapped.wait()
        finally:
            task.cancel()

    asyncio.run(asyncio.wait_for(until_ended(), 5))
    lever.refresh_from_db()
    assert lever.ended_by == SYSTEM.name


def test_the_longest_lever_is_possible(actor):
    nearly = timezone.now() + levers.LONGEST - timedelta(seconds=5)
    levers.pull(LeverKind.FREEZE, by=actor, note="Why", expires_at=nearly)
    assert live.refresh().frozen(in_an_hour())
