"""Erasing and deleting old runs while a writer records new ones: its longest wait, the time, the size of the file."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

RUNS = 100_000
EACH = 500
"""Runs that are inserted at once, and end at the same moment."""
IN_ONE = 5
"""One transaction gets this part of the runs, because a writer gives up after 20 seconds."""
TEXT = "a lighthouse above a quiet sea, waves roll in slowly, golden hour, wide shot " * 8
DAYS = 30


def bench_deletion(runs: int = RUNS) -> list[dict[str, Any]]:
    """Return rows for each way: a fifth of the runs in one transaction, and all in batches, as the server does it."""
    with tempfile.TemporaryDirectory(prefix="promptops-deletion-") as folder:
        command = [sys.executable, "-m", "benchmarks.deletion", "measure", str(runs)]
        rows: list[dict[str, Any]] = json.loads(subprocess.check_output(command, env=os.environ | {"VAR_DIR": folder}))
        return rows


def measure(runs: int) -> list[dict[str, Any]]:
    """Fill the database twice, and empty it in both ways."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from promptops.ledger.models import LiveConfiguration
    from promptops.platform import space
    from promptops.runs.actions import _passes as passes
    from promptops.runs.actions.deleting import delete_expired
    from promptops.runs.actions.erasing import erase_expired

    call_command("migrate", verbosity=0)
    LiveConfiguration.objects.update(run_retention_days=DAYS, run_deletion_days=DAYS)
    rows = []
    in_batches = passes.BATCH
    for way, batch, count in (
        ("one transaction", runs, runs // IN_ONE),
        (f"batches of {in_batches}", in_batches, runs),
    ):
        passes.BATCH = batch
        fill(count)
        steps: list[tuple[str, Callable[[], int]]] = [("erase", erase_expired), ("delete", delete_expired)]
        if batch == in_batches and connection.vendor == "sqlite":
            steps.append(("give space back", space.give_back))
        for name, step in steps:
            before = size()
            seconds, waits = beside_a_writer(step)
            rows.append(
                {
                    "what": f"{name} {count:,} runs in {way}, {connection.vendor}",
                    "seconds": round(seconds, 1),
                    "writer_p50_ms": round(waits[len(waits) // 2]),
                    "writer_longest_ms": round(waits[-1]),
                    "mib_before": before,
                    "mib_after": size(),
                }
            )
    return rows


def size() -> int:
    """Return the size of the database in MiB."""
    from django.conf import settings
    from django.db import connection

    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return Path(settings.DATABASES["default"]["NAME"]).stat().st_size >> 20
        cursor.execute("SELECT pg_database_size(current_database())")
        return int(cursor.fetchone()[0]) >> 20


def fill(runs: int) -> None:
    """Insert old runs with a failed and an answered attempt and two verdicts each, by copying one row of each table."""
    from django.db import connection, transaction

    from promptops.runs.models import Attempt, Run, SafetyCheck

    first = datetime.now(UTC) - timedelta(days=DAYS + 40)
    for done in range(0, runs, EACH):
        with transaction.atomic(), connection.cursor() as cursor:
            made = new_run(at=first + timedelta(minutes=done // EACH * 10))
            newest = made.pk
            if count := min(EACH, runs - done) - 1:
                copy(cursor, Run, {}, f"numbers WHERE id = {made.pk}", count)
            for model in (Attempt, SafetyCheck):
                run = "promptops_run.id"
                source = f"promptops_run WHERE run_id = {made.pk} AND promptops_run.id > {newest}"
                copy(cursor, model, {"run_id": run}, source, 0)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")  # as autovacuum does; here it would come too late


def copy(cursor: Any, model: Any, values: dict[str, str], source: str, count: int) -> None:
    """Copy rows of a model once for each row of `source`, with other `values`."""
    table = model._meta.db_table
    columns = [field.column for field in model._meta.concrete_fields if not field.primary_key]
    chosen = ", ".join(values.get(name, f'{table}."{name}"') for name in columns)
    inserted = ", ".join(f'"{name}"' for name in columns)
    numbers = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %s) "
    cursor.execute(f"{numbers}INSERT INTO {table} ({inserted}) SELECT {chosen} FROM {table}, {source}", [count])


def new_run(**fields: Any) -> Any:
    """Record one run with its attempts and verdicts, in one transaction."""
    from django.db import transaction

    from promptops.runs.models import Attempt, Run, SafetyCheck

    with transaction.atomic():
        run = Run.objects.create(
            source="preview", operation="enhance", temperature=0.7, max_tokens=256, revision=1, input=TEXT, output=TEXT,
            status="succeeded", provider="groq", model="llama", latency_ms=412.5, cost=0.0001, fallback_used=True,
            **fields,
        )  # fmt: skip
        Attempt.objects.bulk_create(
            Attempt(
                run=run, position=position, provider=provider, outcome=outcome, message=message, started_ms=0,
                latency_ms=200.0, input_tokens=120, output_tokens=80, cost=0.00005,
            )
            for position, (provider, outcome, message) in enumerate(
                (("cerebras", "failed", "503 from the server"), ("groq", "succeeded", "")), start=1
            )
        )  # fmt: skip
        SafetyCheck.objects.bulk_create(
            SafetyCheck(
                run=run, side=side, decision="allow", layer="model", scores={"violence": 0.02, "hate": 0.01},
                score=0.03, mode="shadow",
            )
            for side in ("input", "output")
        )  # fmt: skip
    return run


def beside_a_writer(step: Callable[[], int]) -> tuple[float, list[float]]:
    """Return the seconds that the step takes, and how long a writer in another process waits for each run, in ms."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.deletion", "write"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdin
        assert writer.stdout
        writer.stdout.readline()
        began = time.perf_counter()
        step()
        seconds = time.perf_counter() - began
        writer.stdin.close()
        return seconds, sorted(json.loads(writer.stdout.read()))


def write() -> list[float]:
    """Record 20 runs a second until standard input closes. Return the milliseconds that each took."""
    import contextlib
    import select

    import django

    django.setup()
    from django.db import OperationalError

    new_run()
    print("ready", flush=True)
    taken = []
    while not select.select([sys.stdin], [], [], 0.05)[0]:
        began = time.perf_counter()
        while True:
            with contextlib.suppress(OperationalError):  # locked for too long; the server would retry, too
                new_run()
                break
        taken.append((time.perf_counter() - began) * 1000)
    return taken or [0.0]


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[2])) if sys.argv[1] == "measure" else write()))
