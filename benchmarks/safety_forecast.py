"""Measure what the panel for enforcing costs: the forecast over the newest runs, among many verdicts."""

import statistics
import time
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

CHECKS = 100_000
ROUNDS = 20


def bench_safety_forecast() -> list[dict[str, Any]]:
    """Milliseconds and queries of one forecast: with all runs of the last day, and spread over 100 days."""
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    return [_row("all in the last 24 hours", 1), _row("over 100 days", 100)]


def _row(name: str, days: int) -> dict[str, Any]:
    from promptops.safety.models import SafetySettings
    from promptops.safety.queries.forecast import forecast

    config = SafetySettings.objects.get(pk=1)
    with transaction.atomic():
        _fill(timedelta(days=days))
        with CaptureQueriesContext(connection) as captured:
            found = forecast(config)
        times = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            forecast(config)
            times.append((time.perf_counter() - began) * 1000)
        transaction.set_rollback(True)
    figures = {"median ms": round(statistics.median(times), 1), "longest ms": round(max(times), 1)}
    return {"checks": f"{CHECKS:,}, {name}", "runs": found.runs, "queries": len(captured), **figures}


def _fill(span: timedelta) -> None:
    """Add two checks for each of many runs; every sixth run is in an unknown language."""
    from promptops.runs.models import Run, SafetyCheck

    now, count = timezone.now(), CHECKS // 2
    values = {"source": "preview", "operation": "enhance", "temperature": 1, "max_tokens": 1, "latency_ms": 1}
    runs = Run.objects.bulk_create(
        [Run(revision=0, status="succeeded", at=now - span * number / count, **values) for number in range(count)],
        batch_size=500,
    )
    unjudged = {"decision": "unavailable", "cause": "language", "language": "Chinese"}
    SafetyCheck.objects.bulk_create(
        [
            SafetyCheck(
                run=run, side=side, mode="shadow", at=run.at, **({"decision": "allow"} if place % 6 else unjudged)
            )
            for place, run in enumerate(runs)
            for side in ("input", "output")
        ],
        batch_size=500,
    )
