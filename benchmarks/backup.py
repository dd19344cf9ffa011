"""A backup and its restore, through the commands, with a long audit."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.audit import fill

ENTRIES = 200_000


def bench_backup(entries: int = ENTRIES) -> list[dict[str, Any]]:
    """Return the seconds that the commands take; on SQLite in a database of its own, else in that of DATABASE_URL."""
    with tempfile.TemporaryDirectory(prefix="promptops-backup-") as folder:
        env = os.environ | {"VAR_DIR": folder}
        command = [sys.executable, "-m", "benchmarks.backup", str(entries), folder]
        rows: list[dict[str, Any]] = json.loads(subprocess.check_output(command, env=env))
        return rows


def measure(entries: int, folder: Path) -> list[dict[str, Any]]:
    """Make `entries` audit entries, back up, and restore."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from promptops.people.models import User

    call_command("migrate", verbosity=0)
    people = User.objects.bulk_create(User(username=f"person-{number}") for number in range(40))
    fill(entries, people, people[0])
    rows = []
    for name, options in (("backup", {}), ("restore", {"replace": True})):
        connection.close()
        began = time.perf_counter()
        with open(os.devnull, "w") as nowhere:
            call_command(name, folder / "backup", stdout=nowhere, **options)
        seconds = time.perf_counter() - began
        size = sum(file.stat().st_size for file in (folder / "backup").iterdir())
        rows.append(
            {
                "what": f"{name}, {connection.vendor}, {entries:,} audit entries",
                "seconds": round(seconds, 1),
                "mib": size // 2**20,
            }
        )
    return rows


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), Path(sys.argv[2]))))
