"""Pages and the release path, on a SQLite file."""

import statistics
import time
from typing import Any


def bench_server() -> list[dict[str, Any]]:
    """Time to publish, to load the snapshot, and to render each page."""
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from django.test import Client

    from promptops.ledger.audit import Actor
    from promptops.live import snapshots as live
    from promptops.people.models import User
    from promptops.prompts.actions.releases import Content, publish
    from promptops.prompts.actions.templates import create_template

    user = User.objects.create(username="bench", name="Bench", role="administrator")
    actor = Actor.person(user)
    template = create_template("enhance", "enhance", by=actor)
    text = " ".join(["word"] * 6000)
    publishes = []
    for number in range(60):
        template.refresh_from_db()
        began = time.perf_counter()
        publish(template, Content(f"{text} {number}"), by=actor, expected=template.live_version_id)
        publishes.append((time.perf_counter() - began) * 1000)
    loads = []
    for _ in range(50):
        began = time.perf_counter()
        live.load()
        loads.append((time.perf_counter() - began) * 1000)
    rows = [_row("publish (6,000 words)", publishes), _row("load the snapshot", loads)]
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    for path in (
        "/",
        "/prompts/",
        "/prompts/enhance/",
        "/prompts/enhance/history/",
        "/prompts/enhance/diff/?a=1&b=60",
        "/audit/",
        "/runs/",
    ):
        taken = []
        for _ in range(20):
            began = time.perf_counter()
            response = client.get(path)
            taken.append((time.perf_counter() - began) * 1000)
            assert response.status_code == 200, path
        rows.append(_row(f"GET {path}", taken[1:]))
    return rows


def _row(what: str, taken: list[float]) -> dict[str, Any]:
    return {"what": what, "p50_ms": round(statistics.median(taken), 1), "max_ms": round(max(taken), 1)}
