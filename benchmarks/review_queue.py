"""What a page of the review queue costs in each order, among 100,000 verdicts that wait, and 20,000 with a review."""

import statistics
import time
from typing import Any

from django.db import transaction

WAITING, REVIEWED = 100_000, 20_000
ROUNDS = 20


def bench_review_queue() -> list[dict[str, Any]]:
    """Milliseconds of the page: at the top, in the middle and behind the last, and of the second looks."""
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from django.test import Client

    from promptops.people.models import User
    from promptops.safety.enums import PairQueue, QueueOrder

    reader = User.objects.create(username="reader", name="Reader", role="releaser")
    client = Client()
    client.force_login(reader, backend="django.contrib.auth.backends.ModelBackend")
    with transaction.atomic():
        middle, last = _fill()
        places = {"at the top": "", "from the middle": f"&before={middle}", "behind the last": f"&before={last}"}
        rows = [
            _row(client, f"{QueueOrder(order).label}, {name}", f"order={order}{place}")
            for order in QueueOrder.values
            for name, place in places.items()
        ]
        rows += [_row(client, PairQueue(queue).label, f"queue={queue}") for queue in PairQueue.values]
        transaction.set_rollback(True)
    return rows


def _row(client: Any, name: str, query: str) -> dict[str, Any]:
    address = f"/safety/queue/?{query}"
    client.get(address)
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        assert client.get(address).status_code == 200
        times.append((time.perf_counter() - began) * 1000)
    return {"page": name, "median ms": round(statistics.median(times), 1), "longest ms": round(max(times), 1)}


def _fill() -> tuple[int, int]:
    """Add the verdicts. Return that in the middle and the last one, in the orders by distance and by disagreement."""
    from promptops.people.models import User
    from promptops.runs.models import Run, SafetyCheck
    from promptops.safety.models import SafetySecondLook

    values = {"source": "preview", "operation": "enhance", "temperature": 1, "max_tokens": 1, "latency_ms": 1}
    count = WAITING + REVIEWED
    runs = Run.objects.bulk_create(
        [Run(revision=0, status="succeeded", input="a fox", **values) for _ in range(count)], batch_size=500
    )
    other = User.objects.create(username="other", name="Other", role="editor")
    scores = {"violence": 0.6, "hate": 0.1}
    queues = ("blocked", "borderline", "borderline", "reported")
    checks = SafetyCheck.objects.bulk_create(
        [
            SafetyCheck(
                run=run,
                side="input",
                mode="shadow",
                decision="allow",
                scores=scores,
                queue=queues[place % 1_000] if place % 1_000 < len(queues) else queues[place % 3],
                distance=(place * 7_919) % 100_003 / 10_000,
                disagreement=11 - (place * 7_919) % 100_003 / 10_000,
                review="" if place < WAITING else "disputed" if place % 2_000 == 0 else "right",
                reviewed_by=None if place < WAITING else other,
            )
            for place, run in enumerate(runs)
        ],
        batch_size=500,
    )
    looked_at = checks[WAITING::2_000]
    SafetySecondLook.objects.bulk_create(
        [
            SafetySecondLook(verdict=check, first_harmful=True, second_harmful=False, first_by=other)
            for check in looked_at
        ]
    )
    others = [
        check.pk for check in sorted(checks[:WAITING], key=lambda each: each.distance or 0) if check.queue != queues[3]
    ]
    return others[len(others) // 2], others[-1]
