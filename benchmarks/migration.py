"""The upgrade of a long audit on SQLite: migration 0030 copies the table of entries, in either direction."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.audit import ENTRIES, fill

BEFORE, AFTER = "0029_learned_adaptations", "0030_audit_row_number"


def bench_migration(entries: int = ENTRIES) -> list[dict[str, Any]]:
    """Return the seconds that the migration takes, in a process and a database of its own."""
    with tempfile.TemporaryDirectory(prefix="promptops-migration-") as folder:
        env = os.environ | {"VAR_DIR": folder, "DATABASE_URL": ""}
        command = [sys.executable, "-m", "benchmarks.migration", str(entries)]
        rows: list[dict[str, Any]] = json.loads(subprocess.check_output(command, env=env))
        return rows


def measure(entries: int) -> list[dict[str, Any]]:
    """Make `entries` audit entries, migrate back and forward, and check that the chain is whole."""
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    from promptops.ledger import chain as audit_chain
    from promptops.people.models import User

    call_command("migrate", verbosity=0)
    people = User.objects.bulk_create(User(username=f"person-{number}") for number in range(40))
    fill(entries, people, people[0])
    head = audit_chain.verify().head
    call_command("migrate", "promptops", AFTER, verbosity=0)  # what came later is not measured
    path = Path(settings.DATABASES["default"]["NAME"])
    rows = []
    for direction, target in (("back", BEFORE), ("forward", AFTER)):
        before, began, worked = _bytes(path), time.perf_counter(), time.process_time()
        call_command("migrate", "promptops", target, verbosity=0)
        rows.append(
            {
                "what": f"0030 {direction}, {entries:,} entries",
                "seconds": round(time.perf_counter() - began, 1),
                "cpu_seconds": round(time.process_time() - worked, 1),
                "mib_before": before // 2**20,
                "mib_after": _bytes(path) // 2**20,
            }
        )
    call_command("migrate", verbosity=0)
    verdict = audit_chain.verify()
    assert (verdict.bad, verdict.head) == (None, head), verdict
    return rows


def _bytes(path: Path) -> int:
    """Return what the database takes on the disk, its write-ahead log included."""
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
