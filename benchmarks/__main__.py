"""`make bench`: figures as JSON on standard output and as tables on standard error.

chain: calls to a loopback provider in a process of its own, through the engine's chain and four other ways. server:
publishing, loading the snapshot, and each page with a full data set, through the whole middleware. history: the pages
of 200 versions of a 6,000-word prompt. comparing: pages of a real server while 2,000 trials run. audit: a million audit
entries, checked and filtered. following: from a commit until other processes run what it released, with and without
Redis. fleet: from publish until 200 and 1,000 servers have acknowledged, and the memory of a socket; on PostgreSQL with
two processes and Redis. safety: judging
a text. loop: what an event loop feels of it. forecast: what enforcing would have done, among 100,000 verdicts.
queue: a page of the review queue in each order, among 100,000 verdicts that wait.
verdicts: the verdict page of 18,000 votes. uploads: files that cost much to read, time and memory.
bombs: hostile answers of a provider. signins: pages of a real server while 200 people sign in.
start: from the start of a process to its first page. idle: statements and memory of a server that nobody uses.
live: the live document for servers that follow. overview: the overview after each of 20,000 runs in 24 hours.
runs: runs over the sockets of 64 open editors at once, and pages meanwhile.
api_runs: runs over HTTP from 64 machines at once, and pages meanwhile.
metrics: what metrics add to the processor time of a run over HTTP.
migration: the upgrade of a million audit entries on SQLite. backup: backup and restore with 200,000 of them.
releases: the size and the pages of 9,000 releases of 200 templates, and the migration that packed them.
deletion: 100,000 old runs erased and deleted while a writer records new ones.
bombs: hostile answers of a provider. contracts: checking usual and the largest answers by their contract.
signins: pages of a real server while 200 people sign in. migration: the upgrade of a million audit entries on SQLite.
backup: backup and restore with 200,000 of them.
big: each
page and each filter of a database with 500,000 runs, which `fill` only fills; both take minutes, so only by name.
keys: from a key to the frame that shows its answer, on each main page in Chromium; only by name.
`python -m benchmarks chain` runs only the first; `python -m benchmarks audit postgresql://user@host/name` fills and
measures an empty database there; `python -m benchmarks migration 50000` measures with 50,000 audit entries. A folder,
such as `python -m benchmarks fill ./large`, keeps the SQLite database there; `big ./large` then measures it again.
"""

import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.api_runs import bench_api_runs
from benchmarks.audit import ENTRIES, bench_audit
from benchmarks.backup import ENTRIES as BACKED_UP
from benchmarks.backup import bench_backup
from benchmarks.big import bench_big
from benchmarks.big.filling import RUNS
from benchmarks.bombs import bench_bombs
from benchmarks.chain import bench_chain
from benchmarks.comparing import bench_comparing
from benchmarks.contracts import bench_contracts
from benchmarks.deletion import RUNS as DELETED
from benchmarks.deletion import bench_deletion
from benchmarks.fleet import bench_fleet
from benchmarks.following import bench_following
from benchmarks.history import bench_history
from benchmarks.keys import ROUNDS, bench_keys
from benchmarks.live import bench_live
from benchmarks.metrics_cost import bench_metrics
from benchmarks.migration import bench_migration
from benchmarks.overview import RUNS as SHOWN
from benchmarks.overview import bench_overview
from benchmarks.releases import RELEASES, bench_releases
from benchmarks.resting import bench_idle, bench_start
from benchmarks.review_queue import bench_review_queue
from benchmarks.runs import bench_runs
from benchmarks.safety import bench_loop, bench_safety
from benchmarks.safety_forecast import bench_safety_forecast
from benchmarks.server import bench_server
from benchmarks.signins import bench_signins
from benchmarks.uploads import bench_uploads
from benchmarks.verdicts import bench_verdicts


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as aligned text."""
    columns = list(rows[0])
    cells = [columns, *([str(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def measure_chain() -> list[dict[str, Any]]:
    """The chain's figures, with the upstream in a process of its own."""
    upstream = subprocess.Popen([sys.executable, "-m", "benchmarks.upstream"], stdout=subprocess.PIPE, text=True)
    try:
        assert upstream.stdout
        return asyncio.run(bench_chain(int(upstream.stdout.readline())))
    finally:
        upstream.terminate()
        upstream.wait()


def main() -> None:
    """Run everything that was asked for and print it."""
    database = next((given for given in sys.argv[1:] if given.startswith("postgresql://")), "")
    number = next((given for given in sys.argv[1:] if given.isdecimal()), "")
    folder = next((given for given in sys.argv[1:] if os.sep in given and given != database), "")
    entries = int(number or ENTRIES)
    parts = {
        "chain": measure_chain,
        "server": bench_server,
        "history": bench_history,
        "comparing": bench_comparing,
        "audit": lambda: bench_audit(entries),
        "migration": lambda: bench_migration(entries),
        "backup": lambda: bench_backup(int(number or BACKED_UP)),
        "releases": lambda: bench_releases(int(number or RELEASES)),
        "deletion": lambda: bench_deletion(int(number or DELETED)),
        "overview": lambda: bench_overview(int(number or SHOWN)),
        "following": bench_following,
        "fleet": bench_fleet,
        "safety": bench_safety,
        "loop": bench_loop,
        "forecast": bench_safety_forecast,
        "queue": bench_review_queue,
        "verdicts": bench_verdicts,
        "uploads": bench_uploads,
        "signins": bench_signins,
        "start": bench_start,
        "idle": bench_idle,
        "runs": bench_runs,
        "api_runs": bench_api_runs,
        "metrics": bench_metrics,
        "live": bench_live,
        "bombs": lambda: asyncio.run(bench_bombs()),
        "contracts": bench_contracts,
        "keys": lambda: bench_keys(int(number or ROUNDS)),
        "fill": lambda: bench_big(int(number or RUNS), only_fill=True),
        "big": lambda: bench_big(int(number or RUNS)),
    }
    asked = set(sys.argv[1:]) - {database, number, folder} or set(parts) - {"keys", "fill", "big"}
    state = tempfile.TemporaryDirectory(prefix="promptops-bench-")
    os.environ |= {
        "VAR_DIR": folder or state.name,
        "DATABASE_URL": database,
        "REDIS_URL": "",
        "ALLOWED_HOSTS": "testserver",
    }
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "promptops.settings")
    found = {name: run() for name, run in parts.items() if name in asked}
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    print(json.dumps({"machine": machine, **found}, indent=1))
    print("\n\n".join(["", machine, *map(table, found.values())]), file=sys.stderr)
    state.cleanup()


if __name__ == "__main__":
    main()
