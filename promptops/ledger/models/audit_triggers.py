"""Triggers that make the audit append-only in the database itself, whatever program writes to it.

Entries cannot be changed, removed or replaced. The head only moves forward, to an existing entry. No setting turns this
off. Somebody who may change the database's structure can drop the triggers; the system check (`site.system_checks`) and
a pinned head (docs/audit.md) detect that.
"""

from django.db.backends.base.base import BaseDatabaseWrapper

ENTRIES, HEAD = "promptops_auditentry", "promptops_audithead"
ENTRY_REFUSED = "Audit entries can only be added. This one can be neither changed nor removed."
HEAD_REFUSED = "The head of the audit only moves forward, to an entry that is there."

_THERE = "EXISTS (SELECT 1 FROM promptops_auditentry WHERE seq = NEW.seq)"
_FORWARD = (
    "NEW.seq > OLD.seq AND EXISTS (SELECT 1 FROM promptops_auditentry WHERE seq = NEW.seq AND sha256 = NEW.sha256)"
)


def _sqlite(name: str, event: str, table: str, message: str, when: str = "1") -> str:
    return f"CREATE TRIGGER {name} BEFORE {event} ON {table} WHEN {when} BEGIN SELECT RAISE(ABORT, '{message}'); END"


# By name. INSERT OR REPLACE removes the old row without firing the triggers for DELETE, so it has its own trigger.
SQLITE = {
    "audit_entry_update": _sqlite("audit_entry_update", "UPDATE", ENTRIES, ENTRY_REFUSED),
    "audit_entry_delete": _sqlite("audit_entry_delete", "DELETE", ENTRIES, ENTRY_REFUSED),
    "audit_entry_replace": _sqlite(
        "audit_entry_replace",
        "INSERT",
        ENTRIES,
        ENTRY_REFUSED,
        _THERE,
    ),
    "audit_head_update": _sqlite("audit_head_update", "UPDATE", HEAD, HEAD_REFUSED, f"NOT ({_FORWARD})"),
    "audit_head_delete": _sqlite("audit_head_delete", "DELETE", HEAD, HEAD_REFUSED),
    "audit_head_replace": _sqlite(
        "audit_head_replace", "INSERT", HEAD, HEAD_REFUSED, "EXISTS (SELECT 1 FROM promptops_audithead)"
    ),
}

# By name of the function. As on SQLite, the error is one of integrity.
_RAISE = "RAISE EXCEPTION '{}' USING ERRCODE = 'integrity_constraint_violation';"
POSTGRESQL_FUNCTIONS = {
    "audit_entry_refused": f"BEGIN {_RAISE.format(ENTRY_REFUSED)} END",
    "audit_head_refused": (
        f"BEGIN IF TG_OP = 'UPDATE' THEN IF {_FORWARD} THEN RETURN NEW; END IF; END IF; "
        f"{_RAISE.format(HEAD_REFUSED)} END"
    ),
}
# In the form in which PostgreSQL returns them, which `missing` compares.
POSTGRESQL = {
    f"{prefix}_{event.lower()}": (
        f"CREATE TRIGGER {prefix}_{event.lower()} BEFORE {event} ON {table} "
        f"FOR EACH {'STATEMENT' if event == 'TRUNCATE' else 'ROW'} EXECUTE FUNCTION {prefix}_refused()"
    )
    for prefix, table in (("audit_entry", ENTRIES), ("audit_head", HEAD))
    for event in ("UPDATE", "DELETE", "TRUNCATE")
}


def install(connection: BaseDatabaseWrapper) -> None:
    """Create all triggers, replacing those with the same names."""
    remove(connection)
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            for trigger in SQLITE.values():
                cursor.execute(trigger)
            return
        for name, text in POSTGRESQL_FUNCTIONS.items():
            cursor.execute(f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $${text}$$")
        for name, trigger in POSTGRESQL.items():
            cursor.execute(trigger)
            # Without ALWAYS, a trigger does not fire under session_replication_role = replica.
            cursor.execute(f"ALTER TABLE {_table(name)} ENABLE ALWAYS TRIGGER {name}")


def remove(connection: BaseDatabaseWrapper) -> None:
    """Drop all triggers, for the migration backwards."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            for name in SQLITE:
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
            return
        for name in POSTGRESQL:
            cursor.execute(f"DROP TRIGGER IF EXISTS {name} ON {_table(name)}")
        for name in POSTGRESQL_FUNCTIONS:
            cursor.execute(f"DROP FUNCTION IF EXISTS {name}()")


def _table(trigger: str) -> str:
    return HEAD if trigger.startswith("audit_head") else ENTRIES


def missing(connection: BaseDatabaseWrapper, *, always: bool = True) -> list[str]:
    """Return the names of triggers that are missing, altered, or not enabled.

    On PostgreSQL they must be enabled for every replication role, unless `always` is False: before migration 0030 they
    were not.
    """
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            present = dict(cursor.fetchall())
            return [name for name, trigger in SQLITE.items() if present.get(name) != trigger]
        cursor.execute(
            "SELECT t.tgname, pg_get_triggerdef(t.oid, true), p.proname, p.prosrc"
            " FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
            " WHERE t.tgrelid IN (to_regclass(%s), to_regclass(%s)) AND t.tgenabled = ANY(%s)",
            [ENTRIES, HEAD, ["A"] if always else ["A", "O"]],
        )
        intact = {
            name: trigger
            for name, trigger, function, text in cursor.fetchall()
            if POSTGRESQL_FUNCTIONS.get(function) == text
        }
    return [name for name, trigger in POSTGRESQL.items() if intact.get(name) != trigger]


def is_keyed_by_number(connection: BaseDatabaseWrapper) -> bool:
    """Return whether `seq` is the only key of an entry's row. On SQLite, a rebuilt table can also have a rowid.

    SQLite makes an index for every primary key that is not an alias of the rowid.
    """
    if connection.vendor != "sqlite":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pragma_table_info(%s) WHERE pk > 0", [ENTRIES])
        key = cursor.fetchall()
        cursor.execute("SELECT 1 FROM pragma_index_list(%s) WHERE origin = 'pk'", [ENTRIES])
        return key == [("seq",)] and cursor.fetchone() is None
