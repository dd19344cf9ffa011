"""Checks of the chain with a pin, in steps, and by the command."""

import re

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from promptops.ledger import audit
from promptops.ledger import chain as audit_chain
from promptops.ledger.models import AuditEntry, AuditHead
from tests.audit_tools import put_in, reseal, rewrite, set_head, take_out, tamper, without_triggers
from tests.ledger.helpers import head, run_verify


def test_only_a_pin_detects_a_rewritten_history(chain):
    pin = head()
    rewrite(2, note="because")
    assert audit_chain.first_bad_entry() is None
    verdict = audit_chain.verify(pin=pin)
    assert (verdict.bad.seq, verdict.bad.problem) == (5, audit_chain.NOT_PINNED)


def test_a_pin_in_the_middle_proves_the_entries_before_it(chain):
    pin = audit_chain.Link(3, AuditEntry.objects.get(seq=3).sha256)
    rewrite(4, note="because")
    assert audit_chain.verify(pin=pin).bad is None
    rewrite(3, note="because")
    assert audit_chain.verify(pin=pin).bad.seq == 3


def test_only_a_pin_detects_a_tail_that_was_cut_off_with_the_head(chain):
    pin = head()
    take_out(4, 5)
    set_head(audit_chain.Link(3, AuditEntry.objects.get(seq=3).sha256))
    assert audit_chain.first_bad_entry() is None
    verdict = audit_chain.verify(pin=pin)
    assert (verdict.bad.seq, verdict.bad.problem) == (4, audit_chain.CUT)


def test_swapped_entries_are_found(chain):
    tamper(2, seq=99)
    tamper(3, seq=2)
    tamper(99, seq=3)
    assert audit_chain.first_bad_entry().seq == 2


def test_a_deleted_or_reset_head_is_found(chain):
    set_head(audit_chain.Link())
    assert (audit_chain.first_bad_entry().seq, audit_chain.first_bad_entry().problem) == (1, audit_chain.BEYOND)
    with without_triggers():
        AuditHead.objects.all().delete()
    assert audit_chain.first_bad_entry().seq == 1


def test_a_number_that_is_used_twice_is_found(chain, monkeypatch):
    """This needs a table without its primary key, which anybody who may write the SQLite file can make."""
    if connection.vendor != "sqlite":
        pytest.skip("made with SQLite's way to copy a table")
    with without_triggers(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE promptops_auditentry RENAME TO kept")
        cursor.execute("CREATE TABLE promptops_auditentry AS SELECT * FROM kept")
        cursor.execute("INSERT INTO promptops_auditentry SELECT * FROM kept WHERE seq = 3")
        for size in (2, 3, 4, 500):
            monkeypatch.setattr(audit, "BATCH", size)
            assert (audit_chain.first_bad_entry().seq, audit_chain.first_bad_entry().problem) == (3, audit_chain.TWICE)
        cursor.execute("DROP TABLE promptops_auditentry")
        cursor.execute("ALTER TABLE kept RENAME TO promptops_auditentry")


@pytest.mark.parametrize("bad", [None, 1, 4, 7, 12])
def test_a_check_in_steps_finds_the_same_fault(chain, actor, monkeypatch, bad):
    for _ in range(7):
        audit.record("settings.changed", by=actor)
    if bad:
        tamper(bad, note="because")
    monkeypatch.setattr(audit, "BATCH", 3)
    verdict, steps = audit_chain.verify(seconds=0), 1
    while not verdict.done:
        verdict, steps = audit_chain.verify(verdict.reached, seconds=0), steps + 1
    assert (verdict.bad and verdict.bad.seq) == bad
    assert verdict.reached.seq == (bad - 1 if bad else 12)
    assert bad or steps > 3


@pytest.mark.parametrize("step", [2, 3, 4, 5, 6, 7])
def test_a_check_in_steps_checks_the_end_too(chain, monkeypatch, step):
    """For any size of the steps, the last one compares the head, entries after it, and the pin."""
    monkeypatch.setattr(audit, "BATCH", step)

    def stepwise(pin: audit_chain.Link | None = None) -> audit_chain.Bad | None:
        verdict = audit_chain.verify(pin=pin, seconds=0)
        while not verdict.done:
            verdict = audit_chain.verify(verdict.reached, pin=pin, seconds=0)
        return verdict.bad

    assert stepwise() is None
    assert stepwise(audit_chain.Link(9, "a" * 64)) == audit_chain.Bad(6, audit_chain.CUT)
    put_in(5, seq=6)
    assert stepwise() == audit_chain.Bad(6, audit_chain.BEYOND)
    take_out(6)
    reseal(5, note="because")
    assert stepwise() == audit_chain.Bad(5, audit_chain.NOT_HEAD)


@pytest.mark.parametrize("seq", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "damage",
    ["at = 'never'", "at = '2026-99-99 00:00:00'", "note = CAST(X'ff' AS TEXT)"],
    ids=["no time", "day", "text"],
)
def test_an_unreadable_entry_is_named(chain, seq, damage):
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL holds no such values")
    with without_triggers(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE promptops_auditentry SET {damage} WHERE seq = {seq}")
    assert audit_chain.first_bad_entry() == audit_chain.Bad(seq, audit_chain.CHANGED)


@pytest.mark.parametrize("text", ["", "5", "5:abc", f"-1:{'a' * 64}", f"5:{'g' * 64}", f"{'9' * 19}:{'a' * 64}"])
def test_an_invalid_pin_is_refused(text):
    with pytest.raises(ValidationError, match="A pin is"):
        audit_chain.Link.read(text)


def test_the_command_prints_a_head_that_can_be_pinned(chain, actor):
    out, err, code = run_verify()
    assert (code, err) == (0, "")
    assert "5 entries checked" in out
    pin = re.search(r"^Head: (5:[0-9a-f]{64})$", out, re.M)[1]
    audit.record("settings.changed", by=actor)
    out, err, code = run_verify("--pin", pin)
    assert (code, err) == (0, "")
    assert "through the pinned entry 5" in out
    rewrite(2, note="because")
    out, err, code = run_verify("--pin", pin)
    assert code == 1
    assert "Entry 5 is not the pinned entry" in err
    assert "Head" not in out
    tamper(4, actor_name="Somebody else")
    assert "Entry 4 was changed" in run_verify()[1]
    assert run_verify("--pin", "nonsense")[2] == 1
