"""The audit's chain: numbers without a gap, hashes that fit, and whatever was done behind its back found."""

import io
import re
import threading
from functools import partial

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from promptops.ledger import audit, registry
from promptops.ledger.actions.trail import REFUSALS_EVERY, record_refusal
from promptops.ledger.models import AuditEntry, AuditHead, audit_triggers
from promptops.prompts.models import Template
from promptops.site.system_checks import audit_is_protected
from tests.audit_tools import put_in, reseal, rewrite, set_head, settle, take_out, tamper, without_triggers


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
    tamper(3, **changes)
    assert audit.first_bad_entry().seq == 3


@pytest.mark.parametrize(
    ("given", "kept"),
    [(-0.0, "0.0"), (1e16, "10000000000000000"), (-1e22, "-10000000000000000000000"), (1e-7, "1e-07"), (5.0, "5.0")],
)
def test_numbers_that_a_database_would_write_in_its_own_way_fit_their_hash(db, actor, given, kept):
    """PostgreSQL knows no zero below zero, and gives back large numbers as whole ones."""
    audit.record("settings.changed", by=actor, before={"a": [given]}, after={"b": {"c": given}})
    assert audit.first_bad_entry() is None
    entry = AuditEntry.objects.get()
    assert audit.canonical_json([entry.before, entry.after]) == f'[{{"a":[{kept}]}},{{"b":{{"c":{kept}}}}}]'


def test_a_change_that_is_sealed_again_breaks_the_link_after_it(chain):
    reseal(3, note="because")
    assert audit.first_bad_entry().seq == 4


def test_a_change_of_the_last_entry_that_is_sealed_again_does_not_fit_the_head(chain):
    reseal(5, note="because")
    assert audit.first_bad_entry().seq == 5


@pytest.mark.parametrize(
    ("missing", "found"), [([1], 1), ([3], 3), ([2, 3], 2), ([5], 5), ([4, 5], 4), ([1, 2, 3, 4, 5], 1)]
)
def test_a_missing_entry_is_found(chain, missing, found):
    take_out(*missing)
    assert audit.first_bad_entry().seq == found


def test_an_inserted_entry_is_found(chain):
    tamper(5, seq=6)
    put_in(4, seq=5)
    assert audit.first_bad_entry().seq == 5


def test_an_entry_put_after_the_head_is_found_even_when_it_fits_the_chain(chain):
    last = AuditEntry.objects.get(seq=5)
    put_in(5, seq=6, previous_sha256=last.sha256)
    reseal(6)
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
    for action in registry.actions():
        noun, verb = action.name.split(".")
        template = action.sentence
        assert (noun + verb).replace("_", "").isalpha()
        assert template.format(actor="A", object="O", before=audit._Values(), after=audit._Values())
        assert not set("<>&") & set(template)


# ---------------------------------------------------------------- pins


def head() -> audit.Link:
    return audit.verify().head


def test_a_history_that_was_rewritten_is_told_by_the_pin_alone(chain):
    pin = head()
    rewrite(2, note="because")
    assert audit.first_bad_entry() is None
    verdict = audit.verify(pin=pin)
    assert (verdict.bad.seq, verdict.bad.problem) == (5, audit.NOT_PINNED)


def test_a_pin_in_the_middle_proves_what_came_before_it(chain):
    pin = audit.Link(3, AuditEntry.objects.get(seq=3).sha256)
    rewrite(4, note="because")
    assert audit.verify(pin=pin).bad is None
    rewrite(3, note="because")
    assert audit.verify(pin=pin).bad.seq == 3


def test_a_tail_that_was_cut_off_with_the_head_is_told_by_the_pin_alone(chain):
    pin = head()
    take_out(4, 5)
    set_head(audit.Link(3, AuditEntry.objects.get(seq=3).sha256))
    assert audit.first_bad_entry() is None
    verdict = audit.verify(pin=pin)
    assert (verdict.bad.seq, verdict.bad.problem) == (4, audit.CUT)


def test_swapped_entries_are_found(chain):
    tamper(2, seq=99)
    tamper(3, seq=2)
    tamper(99, seq=3)
    assert audit.first_bad_entry().seq == 2


def test_a_head_that_is_gone_or_set_back_is_found(chain):
    set_head(audit.Link())
    assert (audit.first_bad_entry().seq, audit.first_bad_entry().problem) == (1, audit.BEYOND)
    with without_triggers():
        AuditHead.objects.all().delete()
    assert audit.first_bad_entry().seq == 1


def test_a_number_that_is_used_twice_is_found(chain, monkeypatch):
    """Only in a table that has lost its primary key, which SQLite lets anybody make who may change the file."""
    if connection.vendor != "sqlite":
        pytest.skip("made with SQLite's way to copy a table")
    with without_triggers(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE promptops_auditentry RENAME TO kept")
        cursor.execute("CREATE TABLE promptops_auditentry AS SELECT * FROM kept")
        cursor.execute("INSERT INTO promptops_auditentry SELECT * FROM kept WHERE seq = 3")
        for size in (2, 3, 4, 500):
            monkeypatch.setattr(audit, "BATCH", size)
            assert (audit.first_bad_entry().seq, audit.first_bad_entry().problem) == (3, audit.TWICE)
        cursor.execute("DROP TABLE promptops_auditentry")
        cursor.execute("ALTER TABLE kept RENAME TO promptops_auditentry")


@pytest.mark.parametrize("bad", [None, 1, 4, 7, 12])
def test_a_check_in_steps_finds_the_same(chain, actor, monkeypatch, bad):
    for _ in range(7):
        audit.record("settings.changed", by=actor)
    if bad:
        tamper(bad, note="because")
    monkeypatch.setattr(audit, "BATCH", 3)
    verdict, steps = audit.verify(seconds=0), 1
    while not verdict.done:
        verdict, steps = audit.verify(verdict.reached, seconds=0), steps + 1
    assert (verdict.bad and verdict.bad.seq) == bad
    assert verdict.reached.seq == (bad - 1 if bad else 12)
    assert bad or steps > 3


@pytest.mark.parametrize("step", [2, 3, 4, 5, 6, 7])
def test_a_check_in_steps_looks_at_the_end_too(chain, monkeypatch, step):
    """However the steps fall, the last one compares the head, what lies beyond it, and the pin."""
    monkeypatch.setattr(audit, "BATCH", step)

    def stepwise(pin: audit.Link | None = None) -> audit.Bad | None:
        verdict = audit.verify(pin=pin, seconds=0)
        while not verdict.done:
            verdict = audit.verify(verdict.reached, pin=pin, seconds=0)
        return verdict.bad

    assert stepwise() is None
    assert stepwise(audit.Link(9, "a" * 64)) == audit.Bad(6, audit.CUT)
    put_in(5, seq=6)
    assert stepwise() == audit.Bad(6, audit.BEYOND)
    take_out(6)
    reseal(5, note="because")
    assert stepwise() == audit.Bad(5, audit.NOT_HEAD)


@pytest.mark.parametrize("seq", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "damage",
    ["at = 'never'", "at = '2026-99-99 00:00:00'", "note = CAST(X'ff' AS TEXT)"],
    ids=["no time", "day", "text"],
)
def test_what_cannot_even_be_read_is_named(chain, seq, damage):
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL holds no such values")
    with without_triggers(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE promptops_auditentry SET {damage} WHERE seq = {seq}")
    assert audit.first_bad_entry() == audit.Bad(seq, audit.CHANGED)


@pytest.mark.parametrize("text", ["", "5", "5:abc", f"-1:{'a' * 64}", f"5:{'g' * 64}", f"{'9' * 19}:{'a' * 64}"])
def test_a_pin_that_cannot_be_read_is_refused(text):
    with pytest.raises(ValidationError, match="A pin is"):
        audit.Link.read(text)


def run(*arguments: str) -> tuple[str, str, int]:
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("audit_verify", *arguments, stdout=out, stderr=err)
    except CommandError as error:
        return out.getvalue(), err.getvalue() + str(error), error.returncode
    return out.getvalue(), err.getvalue(), 0


def test_the_command_prints_a_head_that_can_be_pinned(chain, actor):
    out, err, code = run()
    assert (code, err) == (0, "")
    assert "5 entries checked" in out
    pin = re.search(r"^Head: (5:[0-9a-f]{64})$", out, re.M)[1]
    audit.record("settings.changed", by=actor)
    out, err, code = run("--pin", pin)
    assert (code, err) == (0, "")
    assert "through the pinned entry 5" in out
    rewrite(2, note="because")
    out, err, code = run("--pin", pin)
    assert code == 1
    assert "Entry 5 is not the pinned entry" in err
    assert "Head" not in out
    tamper(4, actor_name="Somebody else")
    assert "Entry 4 was changed" in run()[1]
    assert run("--pin", "nonsense")[2] == 1


# ---------------------------------------------------------------- the triggers

FORBIDDEN = [
    "UPDATE promptops_auditentry SET note = 'because' WHERE seq = 3",
    "UPDATE promptops_auditentry SET seq = 9 WHERE seq = 5",
    "DELETE FROM promptops_auditentry WHERE seq = 5",
    "DELETE FROM promptops_auditentry",
    "UPDATE promptops_audithead SET seq = 4",
    "UPDATE promptops_audithead SET seq = 6",
    "UPDATE promptops_audithead SET sha256 = 'x'",
    "DELETE FROM promptops_audithead",
]
COPY = "INTO promptops_auditentry SELECT * FROM promptops_auditentry WHERE seq = 3"
FORBIDDEN_BY_VENDOR = {
    "sqlite": [
        f"INSERT OR REPLACE {COPY}",
        f"REPLACE {COPY}",
        f"INSERT OR IGNORE {COPY}",
        f"INSERT {COPY} ON CONFLICT DO UPDATE SET note = 'because'",
        "REPLACE INTO promptops_audithead (id, seq, sha256) VALUES (1, 0, 'x')",
    ],
    "postgresql": [
        "TRUNCATE promptops_auditentry",
        "TRUNCATE promptops_audithead",
        f"INSERT {COPY} ON CONFLICT (seq) DO UPDATE SET note = 'because'",
    ],
}


@pytest.mark.parametrize("which", range(max(map(len, FORBIDDEN_BY_VENDOR.values())) + len(FORBIDDEN)))
def test_the_database_itself_refuses_to_change_what_is_there(chain, which):
    forbidden = [*FORBIDDEN, *FORBIDDEN_BY_VENDOR[connection.vendor]]
    if which >= len(forbidden):
        pytest.skip("the other database has more ways")
    settle()
    with (
        pytest.raises(IntegrityError, match=r"Audit entries can only be added|only moves forward"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(forbidden[which])
    assert audit.first_bad_entry() is None
    assert head().seq == 5


def test_all_triggers_are_there_after_all_migrations(db):
    assert audit_triggers.missing(connection) == []
    assert audit_is_protected(databases=["default"]) == []
    assert audit_is_protected(databases=None) == []


def test_missing_and_disarmed_triggers_are_told_and_put_back(chain, actor):
    settle()
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("DROP TRIGGER audit_entry_update")
            cursor.execute("DROP TRIGGER audit_entry_delete")
            cursor.execute(
                "CREATE TRIGGER audit_entry_delete BEFORE DELETE ON promptops_auditentry BEGIN SELECT 1; END"
            )
        else:
            cursor.execute("ALTER TABLE promptops_auditentry DISABLE TRIGGER audit_entry_update")
            cursor.execute("DROP TRIGGER audit_entry_delete ON promptops_auditentry")
            cursor.execute(
                "CREATE TRIGGER audit_entry_delete BEFORE DELETE ON promptops_auditentry FOR EACH ROW "
                "WHEN (false) EXECUTE FUNCTION audit_entry_refused()"
            )
    (found,) = audit_is_protected(databases=["default"])
    assert "audit_entry_update, audit_entry_delete" in found.msg
    assert "audit_protect" in found.hint
    assert "audit_entry_update" in run()[1]
    assert run()[2] == 0
    call_command("audit_protect", stdout=io.StringIO())
    entry = AuditEntry.objects.first()
    assert entry.action == "audit.protected"
    assert "audit_entry_update, audit_entry_delete" in audit.sentence(entry)
    assert audit_is_protected(databases=["default"]) == []
    with pytest.raises(IntegrityError), transaction.atomic():
        AuditEntry.objects.filter(seq=3).update(note="because")
    call_command("audit_protect", stdout=(out := io.StringIO()))
    assert "Nothing was changed" in out.getvalue()
    assert AuditEntry.objects.first() == entry


@pytest.mark.django_db(transaction=True)
def test_the_migration_can_be_taken_back_and_made_again(actor):
    call_command("migrate", "promptops", "0006", verbosity=0)
    try:
        assert len(audit_triggers.missing(connection)) == 6
        assert audit_is_protected(databases=["default"]) == []  # it is not due yet
    finally:
        call_command("migrate", verbosity=0)
    assert audit_triggers.missing(connection) == []


def test_a_flood_of_refusals_leaves_one_entry_a_minute_for_each_target(actor, editor):
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
