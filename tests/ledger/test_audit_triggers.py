"""The triggers that protect the audit in the database."""

import io

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from promptops.ledger import chain as audit_chain
from promptops.ledger import sentences
from promptops.ledger.models import AuditEntry, audit_triggers
from promptops.site.system_checks import audit_is_protected
from tests.audit_tools import settle
from tests.ledger.helpers import head, run_verify

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
def test_the_database_itself_refuses_changes(chain, which):
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
    assert audit_chain.first_bad_entry() is None
    assert head().seq == 5


def test_all_triggers_exist_after_all_migrations(db):
    assert audit_triggers.missing(connection) == []
    assert audit_is_protected(databases=["default"]) == []
    assert audit_is_protected(databases=None) == []


def test_missing_and_disabled_triggers_are_reported_and_restored(chain, actor):
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
    (warning,) = audit_is_protected(databases=["default"])
    assert "audit_entry_update, audit_entry_delete" in warning.msg
    assert "audit_protect" in warning.hint
    assert "audit_entry_update" in run_verify()[1]
    assert run_verify()[2] == 0
    call_command("audit_protect", stdout=io.StringIO())
    entry = AuditEntry.objects.first()
    assert entry.action == "audit.protected"
    assert "audit_entry_update, audit_entry_delete" in sentences.sentence(entry)
    assert audit_is_protected(databases=["default"]) == []
    with pytest.raises(IntegrityError), transaction.atomic():
        AuditEntry.objects.filter(seq=3).update(note="because")
    call_command("audit_protect", stdout=(out := io.StringIO()))
    assert "Nothing was changed" in out.getvalue()
    assert AuditEntry.objects.first() == entry


@pytest.mark.django_db(transaction=True)
def test_the_migration_can_be_reversed_and_repeated(migrate):
    for _ in range(2):
        migrate("0006_audit_indexes")
        assert len(audit_triggers.missing(connection)) == 6
        assert audit_is_protected(databases=["default"]) == []  # without an error, because the migration has not run
        migrate("0007_audit_triggers")
        assert audit_triggers.missing(connection) == []


# Back through nearly all migrations and forward again: 8 s. No other test undoes them all (see tests/older.py).
@pytest.mark.proof
@pytest.mark.django_db(transaction=True)
def test_nearly_all_migrations_can_be_reversed_and_repeated(actor):
    call_command("migrate", "promptops", "0006", verbosity=0)
    try:
        assert len(audit_triggers.missing(connection)) == 6
    finally:
        call_command("migrate", verbosity=0)
    assert audit_triggers.missing(connection) == []
