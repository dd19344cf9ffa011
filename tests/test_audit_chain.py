"""The audit's chain: numbers without a gap, hashes that fit, and whatever was done behind its back found."""

import threading

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction

from promptops import audit
from promptops.models import AuditEntry, AuditHead, Template


@pytest.fixture
def chain(db, actor):
    """Five entries, with values of every kind that actions hand over."""
    for number in range(1, 6):
        audit.record(
            "template.described",
            by=actor,
            object_name=f"template {number}",
            before={"text": "ж 🦊", "temperature": 0.7, "tokens": None},
            after={"order": ["a", "b"], "on": True},
            note="why",
            revision=number,
        )


def insert_copy(of: int, **changes: object) -> None:
    entry = AuditEntry.objects.get(seq=of)
    for name, value in changes.items():
        setattr(entry, name, value)
    entry._state.adding = True
    entry.save(force_insert=True)


def resealed(seq: int, **changes: object) -> None:
    """Change an entry and give it a hash that fits it again."""
    AuditEntry.objects.filter(seq=seq).update(**changes)
    AuditEntry.objects.filter(seq=seq).update(sha256=audit.entry_sha256(AuditEntry.objects.get(seq=seq)))


def test_entries_are_numbered_from_one_and_linked(chain):
    entries = list(AuditEntry.objects.order_by("seq"))
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5]
    assert [entry.previous_sha256 for entry in entries] == [audit.GENESIS, *(entry.sha256 for entry in entries[:-1])]
    head = AuditHead.objects.get()
    assert (head.seq, head.sha256) == (5, entries[-1].sha256)
    assert audit.first_bad_entry() is None


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
    AuditEntry.objects.filter(seq=3).update(**changes)
    assert audit.first_bad_entry().seq == 3


def test_a_change_that_is_sealed_again_breaks_the_link_after_it(chain):
    resealed(3, note="because")
    assert audit.first_bad_entry().seq == 4


def test_a_change_of_the_last_entry_that_is_sealed_again_does_not_fit_the_head(chain):
    resealed(5, note="because")
    assert audit.first_bad_entry().seq == 5


@pytest.mark.parametrize(
    ("missing", "found"), [([1], 2), ([3], 4), ([2, 3], 4), ([5], 5), ([4, 5], 4), ([1, 2, 3, 4, 5], 1)]
)
def test_a_missing_entry_is_found(chain, missing, found):
    with connection.cursor() as cursor:
        for seq in missing:
            cursor.execute("DELETE FROM promptops_auditentry WHERE seq = %s", [seq])
    assert audit.first_bad_entry().seq == found


def test_an_inserted_entry_is_found(chain):
    AuditEntry.objects.filter(seq=5).update(seq=6)
    insert_copy(4, seq=5)
    assert audit.first_bad_entry().seq == 5


def test_an_entry_put_after_the_head_is_found_even_when_it_fits_the_chain(chain):
    last = AuditEntry.objects.get(seq=5)
    insert_copy(5, seq=6, previous_sha256=last.sha256)
    resealed(6)
    assert audit.first_bad_entry().seq == 6


def test_an_entry_can_neither_be_saved_again_nor_deleted(chain):
    entry = AuditEntry.objects.get(seq=2)
    with pytest.raises(ValidationError):
        entry.save()
    with pytest.raises(ValidationError):
        entry.delete()
    assert AuditEntry.objects.count() == 5


def test_an_unknown_action_raises_and_leaves_nothing(db, actor):
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
    assert audit.first_bad_entry() is None


@pytest.mark.django_db(transaction=True)
def test_writers_at_the_same_time_leave_no_gap(actor):
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
    assert audit.first_bad_entry() is None


@pytest.mark.django_db(transaction=True)
def test_checking_while_others_write_finds_nothing_wrong(actor):
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
        assert [audit.first_bad_entry() for _ in range(10)] == [None] * 10
    finally:
        stop.set()
        thread.join(timeout=30)


def entry(action: str = "template.published", **fields: object) -> AuditEntry:
    return AuditEntry(
        action=action, **{"actor_name": "Ada", "object_name": "enhance", "after": {"version": 3}, **fields}
    )


@pytest.mark.parametrize(
    ("given", "plain", "html"),
    [
        (entry(), "Ada published enhance v3", "<b><bdi>Ada</bdi></b> published <b><bdi>enhance</bdi></b> v3"),
        (
            entry(actor_name="<script>", object_name='"a" & b', after={"version": "<i>"}),
            '<script> published "a" & b v<i>',
            "<b><bdi>&lt;script&gt;</bdi></b> published <b><bdi>&quot;a&quot; &amp; b</bdi></b> v&lt;i&gt;",
        ),
        (
            entry(actor_name="{object}", object_name="{after[version]}{0}"),
            "{object} published {after[version]}{0} v3",
            "<b><bdi>{object}</bdi></b> published <b><bdi>{after[version]}{0}</bdi></b> v3",
        ),
        (entry(after=None), "Ada published enhance v–", "<b><bdi>Ada</bdi></b> published <b><bdi>enhance</bdi></b> v–"),
        (
            entry(after=["odd"]),
            "Ada published enhance v–",
            "<b><bdi>Ada</bdi></b> published <b><bdi>enhance</bdi></b> v–",
        ),
        (
            entry("painted.<b>", after=None),
            "Ada: painted.<b> enhance",
            "<b><bdi>Ada</bdi></b>: painted.&lt;b&gt; <b><bdi>enhance</bdi></b>",
        ),
    ],
    ids=["plain", "hostile", "braces", "no values", "odd values", "no longer registered"],
)
def test_sentences(given, plain, html):
    assert audit.sentence(given) == plain
    assert audit.sentence_html(given) == html


def test_every_action_is_a_noun_and_a_verb_with_a_sentence_of_known_parts():
    for action, template in audit.ACTIONS.items():
        noun, verb = action.split(".")
        assert (noun + verb).replace("_", "").isalpha()
        assert template.format(actor="A", object="O", before=audit._Values(), after=audit._Values())
        assert not set("<>&") & set(template)
