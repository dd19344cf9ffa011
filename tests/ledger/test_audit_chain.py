"""The audit's chain: entries are numbered without a gap, hashes match, and every manipulation is found."""

import threading
from functools import partial

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction

from promptops.ledger import audit
from promptops.ledger import chain as audit_chain
from promptops.ledger.actions.trail import REFUSALS_EVERY, record_refusal
from promptops.ledger.models import AuditEntry, AuditHead
from promptops.prompts.models import Template
from tests.audit_tools import put_in, reseal, take_out, tamper


def test_entries_are_numbered_from_one_and_linked(chain):
    entries = list(AuditEntry.objects.order_by("seq"))
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5]
    assert [entry.previous_sha256 for entry in entries] == [audit.GENESIS, *(entry.sha256 for entry in entries[:-1])]
    head = AuditHead.objects.get()
    assert (head.seq, head.sha256) == (5, entries[-1].sha256)
    assert audit_chain.first_bad_entry() is None


@pytest.mark.parametrize(
    "changes",
    [
        {"at": "2020-01-01T00:00:00Z"},
        {"action": "template.archived"},
        {"actor": None},
        {"actor_name": "Somebody else"},
        {"address": "203.0.113.1"},
        {"object_type": "provider"},
        {"object_id": "17"},
        {"object_name": "another"},
        {"before": None},
        {"after": {"order": ["b", "a"], "on": True}},
        {"note": "because"},
        {"revision": 9},
        {"previous_sha256": "1" * 64},
        {"sha256": "1" * 64},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_changed_field_is_found(chain, changes):
    tamper(3, **changes)
    assert audit_chain.first_bad_entry().seq == 3


@pytest.mark.parametrize(
    ("number", "stored"),
    [(-0.0, "0.0"), (1e16, "10000000000000000"), (-1e22, "-10000000000000000000000"), (1e-7, "1e-07"), (5.0, "5.0")],
)
def test_numbers_that_a_database_stores_differently_match_their_hash(db, actor, number, stored):
    """PostgreSQL has no -0.0 and returns large floats as integers."""
    audit.record("settings.changed", by=actor, before={"a": [number]}, after={"b": {"c": number}})
    assert audit_chain.first_bad_entry() is None
    entry = AuditEntry.objects.get()
    assert audit.canonical_json([entry.before, entry.after]) == f'[{{"a":[{stored}]}},{{"b":{{"c":{stored}}}}}]'


def test_a_change_with_a_new_hash_breaks_the_link_after_it(chain):
    reseal(3, note="because")
    assert audit_chain.first_bad_entry().seq == 4


def test_a_change_of_the_last_entry_with_a_new_hash_does_not_match_the_head(chain):
    reseal(5, note="because")
    assert audit_chain.first_bad_entry().seq == 5


@pytest.mark.parametrize(
    ("missing", "bad"), [([1], 1), ([3], 3), ([2, 3], 2), ([5], 5), ([4, 5], 4), ([1, 2, 3, 4, 5], 1)]
)
def test_a_missing_entry_is_found(chain, missing, bad):
    take_out(*missing)
    assert audit_chain.first_bad_entry().seq == bad


def test_an_inserted_entry_is_found(chain):
    tamper(5, seq=6)
    put_in(4, seq=5)
    assert audit_chain.first_bad_entry().seq == 5


def test_an_entry_after_the_head_is_found_even_if_it_fits_the_chain(chain):
    last = AuditEntry.objects.get(seq=5)
    put_in(5, seq=6, previous_sha256=last.sha256)
    reseal(6)
    assert audit_chain.first_bad_entry().seq == 6


def test_an_entry_cannot_be_saved_again_or_deleted(chain):
    entry = AuditEntry.objects.get(seq=2)
    with pytest.raises(ValidationError):
        entry.save()
    with pytest.raises(ValidationError):
        entry.delete()
    assert AuditEntry.objects.count() == 5


def test_an_unknown_action_raises_and_records_nothing(db, actor):
    with pytest.raises(KeyError):
        audit.record("template.painted", by=actor)
    assert not AuditEntry.objects.exists()
    assert AuditHead.objects.get().seq == 0


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_nothing_is_recorded(actor):
    with pytest.raises(RuntimeError, match="transaction"):
        audit.record("settings.changed", by=actor)
    assert not AuditEntry.objects.exists()
    with transaction.atomic():
        audit.record("settings.changed", by=actor)
    assert AuditEntry.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_rollback_leaves_neither_the_change_nor_the_entry_nor_a_gap(actor):
    def change(name: str) -> None:
        Template.objects.create(name=name, operation="enhance")
        audit.record("template.created", by=actor, object_name=name, after={"operation": "enhance"})

    @transaction.atomic
    def fail() -> None:
        change("lost")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not Template.objects.exists()
    assert not AuditEntry.objects.exists()
    with transaction.atomic():
        change("kept")
    assert list(AuditEntry.objects.values_list("seq", "object_name")) == [(1, "kept")]
    assert audit_chain.first_bad_entry() is None


@pytest.mark.django_db(transaction=True)
def test_concurrent_writers_leave_no_gap(actor):
    writers, each = 6, 5
    start, failures = threading.Barrier(writers), []

    def write(writer: int) -> None:
        start.wait()
        try:
            for number in range(each):
                with transaction.atomic():
                    audit.record("template.described", by=actor, object_name=f"{writer}-{number}")
        except Exception as failure:
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    seqs = list(AuditEntry.objects.order_by("seq").values_list("seq", flat=True))
    assert seqs == list(range(1, writers * each + 1))
    assert len(set(AuditEntry.objects.values_list("object_name", flat=True))) == writers * each
    assert audit_chain.first_bad_entry() is None


@pytest.mark.django_db(transaction=True)
def test_a_check_while_others_write_finds_no_fault(actor):
    stop = threading.Event()

    def write() -> None:
        try:
            while not stop.is_set():
                with transaction.atomic():
                    audit.record("settings.changed", by=actor)
        finally:
            connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert [audit_chain.first_bad_entry() for _ in range(10)] == [None] * 10
    finally:
        stop.set()
        thread.join(timeout=30)


def test_a_flood_of_refusals_makes_one_entry_a_minute_for_each_target(actor, editor):
    other = audit.Actor.person(editor)
    refuse = partial(record_refusal, method="GET", permission="administer")
    assert refuse("people", by=actor, path="/settings/people/")
    assert [refuse("people", by=actor, path=f"/{number}") for number in range(50)] == [False] * 50
    assert refuse("people_role", by=actor)
    assert refuse("people", by=other)
    assert AuditEntry.objects.filter(action="access.refused").count() == 3
    for entry in AuditEntry.objects.filter(action="access.refused"):
        tamper(entry.seq, at=entry.at - REFUSALS_EVERY)
    assert refuse("people", by=actor, path="/" + "x" * 900)
    assert len(AuditEntry.objects.first().after["path"]) == 200
