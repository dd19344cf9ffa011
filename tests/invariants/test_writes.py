"""Read from the source: only actions write to the database."""

import ast
import re
from pathlib import Path

import pytest

import promptops

PACKAGE = Path(promptops.__file__).parent
# Actions write and record; the audit writes itself; migrations run before anybody can sign in.
MAY_WRITE = re.compile(r"\w+/actions(/|\.py)|migrations/|ledger/(audit|releases)\.py|engine/")
# Saves inside of models, rows that every migrated database has, and statements that change no rows.
ALLOWED = {
    "apps.py: cursor.execute",  # sets limits of the session, and how a new file of SQLite shrinks
    "management/commands/_start.py: cursor.execute",  # takes the lock of the start
    "web/health.py: cursor.execute",  # takes and releases the lock for writing
    "platform/at_once.py: cursor.execute",  # reads the rows of a query
    "platform/backup.py: cursor.execute",  # counts connections
    "platform/backup.py: database.execute",  # finds out whether SQLite's file is in use
    "apps.py: model.objects.using(using).get_or_create",
    "runs/telemetry.py: Resource.create",  # names the process in traces
    "apps.py: versions.get_or_create",
    "apps.py: models['SafetySettings'].objects.using(using).get_or_create",
    "ledger/models/audit.py: super().save",
    "ledger/models/audit_triggers.py: cursor.execute",
    "prompts/models/templates.py: super().save",
    "platform/space.py: connection.connection.executescript",  # gives unused pages back
    "platform/space.py: cursor.execute",  # reads figures of the file, and writes it once more
    # Which process does background work is no state that a person changes, and not audited.
    "platform/leases.py: rows.update",
    "platform/leases.py: Lease.objects.bulk_create",
    "platform/leases.py: Lease.objects.filter(name=name, holder=holder).update",
    "platform/outages.py: connection.connection.execute",  # sets how long SQLite waits for a lock
}

WRITERS = {
    prefix + name
    for prefix in ("", "a")
    for name in ("save", "create", "get_or_create", "update_or_create", "bulk_create", "bulk_update", "delete")
} | {"save_base", "raw", "executescript", "execute", "executemany", "_raw_delete"}
# `update` is also a method of dicts, sets and hashes: it counts only after a query.
QUERY = re.compile(
    r"\.objects\b|_set\b|\.(filter|exclude|all|order_by|select_for_update|using)\(|\b(rows|queryset|qs)\.a?update$"
)


def writes(source: str) -> list[str]:
    """Return the calls in a module that write to the database."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        called = ast.unparse(node.func)
        name = node.func.attr
        if name in WRITERS or (name in ("update", "aupdate") and QUERY.search(called)):
            found.append(called)
    return found


def test_only_actions_write_to_the_database():
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not MAY_WRITE.match(name):
            found |= {f"{name}: {call}" for call in writes(path.read_text())}
    assert found == ALLOWED


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("user.save()", True),
        ("Template.objects.create(name='x')", True),
        ("await Run.objects.acreate()", True),
        ("Template.objects.filter(pk=1).update(name='x')", True),
        ("template.versions.all().update(note='x')", True),
        ("template.version_set.update(note='x')", True),
        ("rows.update(note='x')", True),
        ("Draft.objects.all().delete()", True),
        ("cursor.execute('update x')", True),
        ("context.update(a=1)", False),
        ("hashlib.sha256().update(b'')", False),
        ("self.seen.update({1})", False),
        ("request.session.pop('x')", False),
        ("actions.erase(run, by=actor)", False),
    ],
)
def test_writes_are_found_in_a_source(source, seen):
    assert bool(writes(source)) is seen
