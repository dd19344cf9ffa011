"""Attacks on the audit by somebody who can run any SQL but does not change the database's structure."""

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from promptops.ledger import audit
from promptops.ledger import chain as audit_chain
from promptops.ledger.models import AuditEntry, AuditHead, audit_triggers
from promptops.site.system_checks import audit_is_protected
from tests.audit_tools import settle, without_triggers
from tests.services.old_databases import Builder

ENTRIES, HEAD = audit_triggers.ENTRIES, audit_triggers.HEAD
COLUMNS = [field.column for field in AuditEntry._meta.concrete_fields]
OTHERS = ", ".join(f'"{name}"' for name in COLUMNS if name != "seq")
BEFORE = "0029_learned_adaptations"
"""The migration before the one that gives each row the number of its entry."""

REFUSED = r"Audit entries can only be added|only moves forward"

sqlite_only = pytest.mark.skipif("connection.vendor != 'sqlite'", reason="a spelling of SQLite's")
postgresql_only = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="a spelling of PostgreSQL's")


@pytest.fixture
def chain(db, actor):
    """Five entries; an attack must leave them and the head as they are."""
    for number in range(1, 6):
        audit.record("template.described", by=actor, object_name=f"template {number}", before={"text": "ж"})
    before = contents()
    yield
    assert contents() == before
    assert audit_chain.first_bad_entry() is None


def contents(left_out: tuple[str, ...] = ()) -> list[object]:
    """Return every value of the audit: of its entries in order, without the fields `left_out`, and of its head."""
    names = [field.name for field in AuditEntry._meta.fields if field.name not in left_out]
    return [*AuditEntry.objects.order_by("seq").values_list(*names), *AuditHead.objects.values_list()]


def attack(*statements: str) -> None:
    """Run the statements in one transaction; the last one must be refused by the audit's triggers."""
    settle()
    *first, last = statements
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in first:
            cursor.execute(statement)
        with pytest.raises(IntegrityError, match=REFUSED), transaction.atomic():
            cursor.execute(last)
        transaction.set_rollback(True)


ROWS = ["rowid", "oid", "_rowid_", '"rowid"', "RowID"]
INSERTS = ["INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE", "INSERT OR ABORT", "INSERT OR FAIL", "INSERT"]


@sqlite_only
@pytest.mark.parametrize("insert", INSERTS)
@pytest.mark.parametrize("row", ["seq", *ROWS])
def test_an_entry_cannot_be_replaced_by_any_name_of_its_row(chain, insert, row):
    attack(f"{insert} INTO {ENTRIES} ({row}, {OTHERS}) SELECT 3, {OTHERS} FROM {ENTRIES} WHERE seq = 5")


@sqlite_only
@pytest.mark.parametrize("insert", INSERTS)
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("order", ["seq first", "row first"])
def test_a_victims_row_beside_a_free_number_names_one_row(chain, insert, row, order):
    """An attack with the victim's rowid beside a free seq. Both now name one column, and the last one counts."""
    names, values = (f"seq, {row}", "3, 99") if order == "seq first" else (f"{row}, seq", "99, 3")
    statement = f"{insert} INTO {ENTRIES} ({{}}, {OTHERS}) SELECT {{}}, {OTHERS} FROM {ENTRIES} WHERE seq = 5"
    outcomes = set()
    for numbers in (values, ", ".join(reversed(values.split(", ")))):
        settle()
        with transaction.atomic(), connection.cursor() as cursor:
            try:
                with transaction.atomic():
                    cursor.execute(statement.format(names, numbers))
                outcomes.add(tuple(AuditEntry.objects.order_by("seq").values_list("seq", flat=True)))
            except IntegrityError as error:
                assert "can only be added" in str(error)  # noqa: PT017 -- either outcome is right, see below
                outcomes.add("refused")
            transaction.set_rollback(True)
    # One of the two orders names a row in the way and is refused; the other only adds an entry.
    assert outcomes == {"refused", (1, 2, 3, 4, 5, 99)}


@sqlite_only
@pytest.mark.parametrize("value", ["'3'", "3.0", "' 3 '", "'3.0'", "CAST(3 AS BLOB)", "2 + 1", "0x3", "TRUE + 2"])
def test_no_spelling_of_the_number_passes_the_trigger(chain, value):
    settle()
    statement = f"REPLACE INTO {ENTRIES} (seq, {OTHERS}) SELECT {value}, {OTHERS} FROM {ENTRIES} WHERE seq = 5"
    with (
        pytest.raises(IntegrityError, match=REFUSED + "|datatype mismatch"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


@sqlite_only
@pytest.mark.parametrize(
    "pragma", ["recursive_triggers = OFF", "recursive_triggers = ON", "ignore_check_constraints = ON"]
)
@pytest.mark.parametrize("seq", ["3", "-1", "NULL"])
def test_pragmas_open_no_way(chain, pragma, seq):
    """A trigger sees -1 for a row without a number. Such an entry must not block or hide any entry."""
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {pragma}")
        try:
            cursor.execute("SAVEPOINT attack")
            for number in (seq, seq):
                try:
                    source = f"SELECT {number}, {OTHERS} FROM {ENTRIES} WHERE seq = 5"
                    cursor.execute(f"REPLACE INTO {ENTRIES} (seq, {OTHERS}) {source}")
                except IntegrityError:
                    continue
            kept = list(AuditEntry.objects.filter(seq__range=(1, 5)).order_by("seq").values_list("object_name"))
            assert kept == [(f"template {number}",) for number in range(1, 6)]
            if AuditEntry.objects.count() > 5:  # it was added, which the check sees
                assert audit_chain.first_bad_entry() is not None
        finally:
            cursor.execute("ROLLBACK TO attack")
            cursor.execute("RELEASE attack")
            cursor.execute("PRAGMA recursive_triggers = OFF")
            cursor.execute("PRAGMA ignore_check_constraints = OFF")


@pytest.mark.parametrize("column", COLUMNS)
def test_no_column_can_be_updated(chain, column):
    attack(f'UPDATE {ENTRIES} SET "{column}" = "{column}" WHERE seq = 3')


UPDATES = ["UPDATE OR REPLACE", "UPDATE OR IGNORE", "UPDATE OR FAIL", "UPDATE OR ROLLBACK", "UPDATE OR ABORT"]


@sqlite_only
@pytest.mark.parametrize("update", [update for update in UPDATES if "ROLLBACK" not in update])
@pytest.mark.parametrize("row", ["seq", *ROWS])
def test_an_entry_cannot_be_moved_over_another(chain, update, row):
    attack(f"{update} {ENTRIES} SET {row} = 3 WHERE {row} = 5")


@pytest.mark.parametrize("action", ["NOTHING", "UPDATE SET note = 'x'", "UPDATE SET seq = 99"])
def test_an_upsert_changes_nothing(chain, action):
    if connection.vendor == "postgresql" and action == "NOTHING":
        pytest.skip("adds nothing and changes nothing there, without an error")
    names = f"seq, {OTHERS}"
    attack(f"INSERT INTO {ENTRIES} ({names}) SELECT {names} FROM {ENTRIES} WHERE seq = 3 ON CONFLICT (seq) DO {action}")


@pytest.mark.parametrize("where", ["seq = 3", "seq > 3", "1 = 1", "object_name = 'template 1'"])
def test_no_entry_can_be_deleted(chain, where):
    attack(f"DELETE FROM {ENTRIES} WHERE {where}")


@pytest.mark.parametrize(
    ("event", "body", "statement"),
    [
        ("DELETE", f"DELETE FROM {ENTRIES} WHERE seq = OLD.seq", "DELETE FROM aside WHERE seq = 3"),
        ("UPDATE", f"UPDATE {ENTRIES} SET note = 'x' WHERE seq = OLD.seq", "UPDATE aside SET note = 'x' WHERE seq = 3"),
        (
            "INSERT",
            f"INSERT OR REPLACE INTO {ENTRIES} (rowid, {OTHERS}) SELECT NEW.seq, {OTHERS} FROM {ENTRIES} WHERE seq = 5",
            "INSERT INTO aside (seq) VALUES (3)",
        ),
    ],
    ids=["delete", "update", "insert"],
)
@sqlite_only
def test_a_writable_view_writes_no_further_than_its_table(chain, event, body, statement):
    attack(
        f"CREATE TEMP VIEW aside AS SELECT * FROM {ENTRIES}",
        f"CREATE TEMP TRIGGER through INSTEAD OF {event} ON aside BEGIN {body}; END",
        statement,
    )


@postgresql_only
@pytest.mark.parametrize("statement", ["DELETE FROM aside WHERE seq = 3", "UPDATE aside SET note = 'x' WHERE seq = 3"])
def test_a_view_that_postgresql_writes_through_is_refused_too(chain, statement):
    attack(f"CREATE TEMP VIEW aside AS SELECT * FROM {ENTRIES}", statement)


@postgresql_only
@pytest.mark.parametrize(
    "statement",
    [
        f"DELETE FROM {ENTRIES} WHERE seq = 3",
        f"UPDATE {ENTRIES} SET note = 'x' WHERE seq = 3",
        f"TRUNCATE {ENTRIES}",
        f"DELETE FROM {HEAD}",
        f"UPDATE {HEAD} SET seq = 1",
        f"TRUNCATE {HEAD}",
    ],
)
@pytest.mark.parametrize("role", ["replica", "local", "origin"])
def test_a_replication_role_skips_no_trigger(chain, statement, role):
    attack(f"SET LOCAL session_replication_role = {role}", statement)


@postgresql_only
def test_rows_cannot_be_merged_over_others(chain):
    if connection.pg_version < 150000:
        pytest.skip("MERGE came with PostgreSQL 15")
    attack(
        f"MERGE INTO {ENTRIES} USING (SELECT 3 AS number) AS victim ON seq = victim.number "
        "WHEN MATCHED THEN UPDATE SET note = 'x'"
    )


# ---------------------------------------------------------------- the head


@sqlite_only
@pytest.mark.parametrize("insert", INSERTS)
@pytest.mark.parametrize("row", ["id", *ROWS])
@pytest.mark.parametrize("number", ["1", "2", "NULL"])
def test_the_head_cannot_be_replaced(chain, insert, row, number):
    attack(f"{insert} INTO {HEAD} ({row}, seq, sha256) VALUES ({number}, 3, 'x')")


@pytest.mark.parametrize("column", ["id", "seq", "sha256"])
def test_no_column_of_the_head_can_be_updated_alone(chain, column):
    attack(f"UPDATE {HEAD} SET {column} = {column}")


@sqlite_only
@pytest.mark.parametrize("update", [update for update in UPDATES if "ROLLBACK" not in update])
def test_the_head_cannot_be_set_back(chain, update):
    attack(f"{update} {HEAD} SET seq = 3, sha256 = (SELECT sha256 FROM {ENTRIES} WHERE seq = 3)")


@pytest.mark.parametrize("action", ["UPDATE SET seq = 3", "UPDATE SET sha256 = 'x'"])
def test_the_head_cannot_be_upserted(chain, action):
    attack(f"INSERT INTO {HEAD} (id, seq, sha256) VALUES (1, 3, 'x') ON CONFLICT (id) DO {action}")


def test_the_head_cannot_be_deleted(chain):
    attack(f"DELETE FROM {HEAD}")


# ---------------------------------------------------------------- what the check sees of changes to the structure


def structure(*statements: str) -> list[str]:
    """Return the names in the system check's message after the statements, which are rolled back."""
    settle()
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        messages = [found.msg for found in audit_is_protected(databases=["default"])]
        transaction.set_rollback(True)
    return messages


@pytest.mark.parametrize("name", sorted({*audit_triggers.SQLITE, *audit_triggers.POSTGRESQL}))
def test_the_check_names_each_trigger_that_is_dropped(chain, name):
    if name not in (audit_triggers.SQLITE if connection.vendor == "sqlite" else audit_triggers.POSTGRESQL):
        pytest.skip("a trigger of the other database")
    table = HEAD if name.startswith("audit_head") else ENTRIES
    (message,) = structure(f"DROP TRIGGER {name}" + (f" ON {table}" if connection.vendor == "postgresql" else ""))
    assert name in message


@postgresql_only
@pytest.mark.parametrize("how", ["DISABLE TRIGGER", "ENABLE REPLICA TRIGGER", "ENABLE TRIGGER"])
def test_the_check_names_a_trigger_that_some_role_skips(chain, how):
    (message,) = structure(f"ALTER TABLE {ENTRIES} {how} audit_entry_delete")
    assert "audit_entry_delete" in message


@postgresql_only
def test_the_check_names_a_trigger_whose_function_was_emptied(chain):
    (message,) = structure(
        "CREATE OR REPLACE FUNCTION audit_entry_refused() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN OLD; END$$"
    )
    assert "audit_entry_delete" in message


@sqlite_only
def test_the_check_sees_a_table_whose_rows_have_another_name(chain):
    """A table rebuilt with a bigint key looks the same, but an entry then has two keys: seq and rowid."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [ENTRIES])
        (table,) = cursor.fetchone()
    assert '"seq" integer NOT NULL PRIMARY KEY' in table
    triggers = [f"DROP TRIGGER {name}" for name in audit_triggers.SQLITE]
    (message,) = structure(
        *triggers,
        f"ALTER TABLE {ENTRIES} RENAME TO aside",
        table.replace('"seq" integer', '"seq" bigint'),
        f"INSERT INTO {ENTRIES} SELECT * FROM aside",
        "DROP TABLE aside",
        *audit_triggers.SQLITE.values(),
    )
    assert "seq is no longer SQLite's rowid" in message


@sqlite_only
def test_the_rows_name_is_the_entrys_number(chain):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {ENTRIES} WHERE rowid IS NOT seq OR typeof(seq) <> 'integer'")
        assert cursor.fetchone() == (0,)


def in_the_older_table(kept: list[object]) -> None:
    """Check the entries before the migration, and write them in another order than their numbers."""
    assert contents(audit.LATER) == kept
    assert audit_triggers.missing(connection) == []
    assert audit_triggers.is_keyed_by_number(connection) == (connection.vendor == "postgresql")
    if connection.vendor == "postgresql":  # as the triggers were before
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {ENTRIES} ENABLE TRIGGER audit_entry_delete")
    assert audit_is_protected(databases=["default"]) == []
    with without_triggers(), connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE aside AS SELECT * FROM {ENTRIES}")
        cursor.execute(f"DELETE FROM {ENTRIES}")
        cursor.execute(f"INSERT INTO {ENTRIES} SELECT * FROM aside ORDER BY seq DESC")
        cursor.execute("DROP TABLE aside")


def in_the_newer_table(kept: list[object]) -> None:
    """Check the entries, the triggers, and that an entry cannot be changed."""
    assert contents(audit.LATER) == kept
    assert len(kept) == 6  # and the head
    assert audit_triggers.missing(connection) == []
    assert audit_triggers.is_keyed_by_number(connection)
    with pytest.raises(IntegrityError, match=REFUSED):
        AuditEntry.objects.filter(seq=1).update(note="x")


@pytest.mark.django_db(transaction=True)
def test_the_migration_keeps_every_entry_in_both_directions(migrate, caplog):
    apps = migrate(BEFORE)
    person = apps.get_model("promptops", "User").objects.create(username="ada", name="Ada")
    builder = Builder(BEFORE)
    for number in range(1, 6):
        builder.record("template.described", person, object_name=f"template {number}", after={"a": [1.5, "ж"]})
    kept = contents(audit.LATER)  # columns that the old table lacks
    for _ in range(2):
        migrate(BEFORE)
        in_the_older_table(kept)
        migrate("0030_audit_row_number")
        in_the_newer_table(kept)
    assert caplog.text == ""


# Back from the newest state, whose entries it keeps, and forward again: 7 s.
@pytest.mark.proof
@pytest.mark.django_db(transaction=True)
def test_all_migrations_since_keep_every_entry_in_both_directions(actor, caplog):
    with transaction.atomic():
        for number in range(1, 6):
            audit.record("template.described", by=actor, object_name=f"template {number}", after={"a": [1.5, "ж"]})
    kept = contents(audit.LATER)
    try:
        call_command("migrate", "promptops", BEFORE, verbosity=0)
        in_the_older_table(kept)
    finally:
        call_command("migrate", verbosity=0)
    assert audit_chain.first_bad_entry() is None
    in_the_newer_table(kept)
    assert caplog.text == ""


@pytest.mark.django_db(transaction=True)
def test_the_migration_reports_missing_triggers_before_it_restores_them(migrate, caplog):
    migrate(BEFORE)
    with connection.cursor() as cursor:
        on_table = f" ON {ENTRIES}" if connection.vendor == "postgresql" else ""
        cursor.execute(f"DROP TRIGGER audit_entry_delete{on_table}")
    assert caplog.text == ""
    migrate("0030_audit_row_number")
    assert "(audit_entry_delete)" in caplog.text
    assert audit_triggers.missing(connection) == []
