"""The overview after each run, with many runs in the last 24 hours: what a hint costs for the pages of all roles.

`python -m benchmarks overview 200000` fills the last 24 hours with that many runs. The overview and its figures are
rendered for four roles after each new run, as the server does for open pages.
"""

import random
import statistics
import time
from datetime import timedelta
from typing import Any

RUNS = 20_000
ROUNDS = 10
PARTS = ("overview", "figures-24")


def bench_overview(number: int = RUNS) -> list[dict[str, Any]]:
    """Return the milliseconds of reading the figures, of the page, and of all renderings after a new run."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.test import Client

    from promptops.people.enums import Role
    from promptops.people.models import User
    from promptops.runs.queries import figures
    from promptops.web import fragments

    call_command("migrate", verbosity=0)
    _fill(number)
    client = Client()
    reader = User.objects.create(username="reader", name="Reader", role=Role.ADMINISTRATOR)
    client.force_login(reader, backend="django.contrib.auth.backends.ModelBackend")

    def renderings() -> None:
        for role in Role.values:
            for part in PARTS:
                fragments.render(part, role, None)

    works = {
        "read the figures": lambda: figures.figures(24),
        "GET /": lambda: client.get("/"),
        f"{len(PARTS)} parts for {len(Role.values)} roles": renderings,
    }
    return [_row(f"{what}, {number:,} runs in 24 h", work) for what, work in works.items()]


def _fill(number: int) -> None:
    from django.utils import timezone

    from benchmarks.big import bulk
    from promptops.runs.models import Attempt, Run

    now, dice = timezone.now(), random.Random(37)

    def run(place: int) -> Any:
        return Run(
            at=now - timedelta(seconds=86_000 * (1 - place / number)),
            source="live",
            operation=dice.choice(["enhance", "rewrite", "auto_extend"]),
            temperature=0.7,
            max_tokens=256,
            revision=1,
            input="a fox runs over the snow in the morning light",
            output="a red fox " * 20,
            status=dice.choices(["succeeded", "failed", "canceled"], [95, 4, 1])[0],
            provider="groq",
            model="m",
            latency_ms=2000 * dice.random(),
            cost=0.001,
        )

    Run.objects.bulk_create(map(run, range(number)), batch_size=1000)
    called = {"provider": "groq", "model": "m", "outcome": "succeeded", "started_ms": 0, "latency_ms": 900}
    numbers = Run.objects.order_by("pk").values_list("pk", flat=True)
    attempts = (Attempt(run_id=pk, position=1, input_tokens=30, output_tokens=50, **called) for pk in numbers)
    Attempt.objects.bulk_create(attempts, batch_size=1000)
    bulk.settle(Run, Attempt)


def _row(what: str, work: Any) -> dict[str, Any]:
    from promptops.runs.models import Run

    taken, processor = [], []
    newest = Run.objects.first()
    for _ in range(ROUNDS + 1):
        newest.pk = None
        newest.save()
        began, worked = time.perf_counter(), time.process_time()
        work()
        taken.append((time.perf_counter() - began) * 1000)
        processor.append((time.process_time() - worked) * 1000)
    return {
        "what": what,
        "p50_ms": round(statistics.median(taken[1:])),
        "max_ms": round(max(taken[1:])),
        "cpu_p50_ms": round(statistics.median(processor[1:])),
    }
