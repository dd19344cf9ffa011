"""Exports are recorded and cannot flood the audit."""

from datetime import timedelta

import pytest
from django.utils import timezone

from promptops.ledger import sentences
from promptops.ledger.actions.exports import NAMES_KEPT, record_counted_exports, record_export
from promptops.ledger.audit import COMMAND_LINE, Actor
from promptops.ledger.models import AuditEntry, ExportTally

pytestmark = pytest.mark.django_db


def export(by: Actor, name: str = "Foxes", action: str = "prompt_set.exported") -> int:
    return record_export(action, by=by, object_name=name, after={"format": "txt", "inputs": 1})


def entries() -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(action__contains="export").order_by("seq"))


def a_minute_later() -> None:
    ExportTally.objects.update(since=timezone.now() - timedelta(minutes=1))


@pytest.fixture
def viewer(make_user) -> Actor:
    return Actor.person(make_user("viewer", "vera"))


def test_a_hundred_exports_in_a_minute_make_one_entry_and_the_next_one_counts_them(viewer: Actor) -> None:
    for number in range(100):
        export(viewer, f"Set {number}")
    assert [entry.after for entry in entries()] == [{"format": "txt", "inputs": 1}]
    a_minute_later()
    export(viewer, "Last")
    last = entries()[-1]
    assert len(entries()) == 2
    assert last.object_name == "Last"
    assert last.after["also_exported"]["exports"] == 99
    assert last.after["also_exported"]["names"] == [f"Set {number}" for number in range(1, NAMES_KEPT + 1)]


def test_counted_exports_are_recorded_without_another_export(viewer: Actor) -> None:
    for _ in range(3):
        export(viewer)
    assert record_counted_exports() == 0, "its minute is not over"
    a_minute_later()
    assert record_counted_exports() == 1
    assert record_counted_exports() == 0
    counted = entries()[-1]
    assert (counted.action, counted.actor_name) == ("exports.counted", viewer.name)
    assert "2 more times" in sentences.sentence(counted)
    export(viewer)
    assert len(entries()) == 2, "that entry was the one of its minute"


def test_people_and_kinds_are_counted_separately(viewer: Actor, make_user) -> None:
    other = Actor.person(make_user("viewer", "otto"))
    for by in (viewer, other):
        export(by)
        export(by, action="audit.exported")
    assert len(entries()) == 4


def test_an_export_by_a_command_is_always_recorded() -> None:
    for _ in range(3):
        export(COMMAND_LINE)
    assert len(entries()) == 3


def test_the_number_is_that_of_the_newest_entry_before_the_export(viewer: Actor) -> None:
    first = export(viewer)
    assert entries()[-1].seq == first + 1
    assert export(viewer) == first + 1, "a counted export may hold the entry of the first"


def test_a_clock_that_was_set_back_hides_no_export(viewer: Actor) -> None:
    export(viewer)
    ExportTally.objects.update(since=timezone.now() + timedelta(hours=1))
    export(viewer)
    assert len(entries()) == 2
