"""Asks for each page through the whole middleware, as a signed-in person's browser does."""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.big.others import READER
from benchmarks.big.pages import Page, all_pages, unmeasured

LIMIT_MS = 200.0
ROUNDS = 5


def measured(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Return the median and the slowest of a few answers of each page, the slowest page first.

    A first answer, which compiles templates and fills the database's cache, does not count. Raises AssertionError for a
    page that fails, and for an address that no page of `all_pages` has.
    """
    from django.test import Client

    from promptops.people.models import User

    client = Client()
    client.force_login(User.objects.get(username=READER), backend="django.contrib.auth.backends.ModelBackend")
    pages = all_pages()
    if missing := unmeasured(pages):
        raise AssertionError(f"Not measured: {', '.join(missing)}. Add them to benchmarks/big/pages.py.")
    rows = [_row(client, page, rounds) for page in pages]
    return sorted(rows, key=lambda row: -row["p50_ms"])


def _row(client: Any, page: Page, rounds: int) -> dict[str, Any]:
    headers = {"HX-Request": "true"} if page.htmx else {}
    clock, processor, database = [], [], _database_clock()
    for _ in range(rounds + 1):
        began, worked = time.perf_counter(), time.process_time() + database()
        response = client.get(page.address, headers=headers)
        size = len(b"".join(response.streaming_content) if response.streaming else response.content)
        clock.append((time.perf_counter() - began) * 1000)
        processor.append((time.process_time() + database() - worked) * 1000)
        assert response.status_code in ((302,) if page.leads else (200, 204)), f"{page.address}: {response.status_code}"
    median = statistics.median(clock[1:])
    if median > LIMIT_MS:
        print(f"{median:.0f} ms {page.address}", file=sys.stderr, flush=True)
    return {
        "page": f"{page.address}{' (htmx)' if page.htmx else ''}",
        "p50_ms": round(median, 1),
        "max_ms": round(max(clock[1:]), 1),
        "best_ms": round(min(clock[1:]), 1),
        "cpu_p50_ms": round(statistics.median(processor[1:]), 1),
        "kib": round(size / 1024),
    }


def _database_clock() -> Callable[[], float]:
    """Return a clock of the processor seconds of PostgreSQL's process for this connection.

    It stays at 0 for SQLite, which works in this process, and for a server on another machine.
    """
    from django.db import connection

    if connection.vendor != "postgresql":
        return lambda: 0.0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        spent = Path(
            f"/proc/{cursor.fetchone()[0]}/schedstat"
        )  # nanoseconds, of which the first is time on a processor
    return lambda: int(spent.read_text().split()[0]) / 1e9 if spent.exists() else 0.0
