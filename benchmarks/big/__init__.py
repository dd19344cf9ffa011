"""A database as large as years make it, filled in minutes, and the time that every page of it takes.

`filling` fills the database (`releases`, `runs`, `trail` and `others` make its rows, `bulk` inserts them), `pages`
names each page and each filter, and `measuring` asks for them.
"""

import os
import sys
from typing import Any

SHOWN = 25


def bench_big(number: int, *, only_fill: bool = False) -> list[dict[str, Any]]:
    """Fill the database with some runs, unless it is filled, and return its slowest pages."""
    import django

    # Statistics of a large table take longer than a page may.
    os.environ.setdefault("DATABASE_STATEMENT_SECONDS", "0")
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from benchmarks.big import filling, measuring

    if not filling.is_filled():
        taken = filling.fill(number)
        if only_fill:
            return [{"part": part, "seconds": seconds} for part, seconds in taken.items()]
    elif only_fill:
        return [{"part": "filled before", "seconds": 0.0}]
    rows = measuring.measured()
    over = [row for row in rows if row["p50_ms"] > measuring.LIMIT_MS]
    print(f"{len(rows)} pages, {len(over)} over {measuring.LIMIT_MS:.0f} ms", file=sys.stderr)
    return rows[: max(SHOWN, len(over))]
