"""How soon a release is what a process runs: the process that publishes, and another one with and without Redis."""

import asyncio
import os
import random
import statistics
import subprocess
import sys
import time
from typing import Any

RELEASES = 60
REDIS_URL = "redis://127.0.0.1:6379/0"


def bench_following() -> list[dict[str, Any]]:
    """Times from the publisher's commit until the snapshot is swapped, and until pages hear of it."""
    rows = []
    for redis_url in ("", os.environ.get("BENCH_REDIS_URL") or REDIS_URL):
        code = subprocess.run(
            [sys.executable, "-m", "benchmarks.following", "publish"],
            env=os.environ | {"REDIS_URL": redis_url},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        rows += _rows("with Redis" if redis_url else "without Redis", code)
    return rows


def _rows(how: str, printed: str) -> list[dict[str, Any]]:
    """A row for each kind of line `kind milliseconds` that the publisher printed."""
    taken: dict[str, list[float]] = {}
    for line in printed.splitlines():
        kind, milliseconds = line.rsplit(" ", 1)
        taken.setdefault(kind, []).append(float(milliseconds))
    return [
        {
            "what": f"{kind}, {how}",
            "releases": len(times),
            "p50_ms": round(statistics.median(times), 1),
            "max_ms": round(max(times), 1),
        }
        for kind, times in taken.items()
    ]


def publish() -> None:
    """Release again and again, and print how soon the release was live here and in a process that follows."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import transaction

    from promptops import live
    from promptops.actions.releases import Content
    from promptops.actions.releases import publish as publish_template
    from promptops.actions.templates import create_template
    from promptops.audit import COMMAND_LINE
    from promptops.models import Template

    call_command("migrate", verbosity=0)
    template = Template.objects.filter(name="enhance").first()
    template = template or create_template("enhance", "enhance", by=COMMAND_LINE)
    follower = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.following", "follow"], stdout=subprocess.PIPE, text=True
    )
    assert follower.stdout
    assert follower.stdout.readline() == "ready\n"
    try:
        for number in range(RELEASES):
            time.sleep(random.uniform(0.6, 1.2))  # at any moment between two looks of the follower
            template.refresh_from_db()
            with transaction.atomic():
                # The first thing that happens after the commit.
                committed: list[float] = []
                transaction.on_commit(lambda committed=committed: committed.append(time.monotonic()))
                publish_template(
                    template, Content(f"Text {number}"), by=COMMAND_LINE, expected=template.live_version_id
                )
            returned = time.monotonic()
            revision = live.current().revision
            print("publishing process, until publish returns", (returned - committed[0]) * 1000)
            moments = dict(follower.stdout.readline().split() for _ in range(2))
            assert {line.split(":")[1] for line in moments} == {str(revision)}
            for kind in ("swapped", "told"):
                at = float(moments[f"{kind}:{revision}"])
                what = "snapshot swapped" if kind == "swapped" else "pages told"
                print(f"other process, {what}", (at - committed[0]) * 1000)
    finally:
        follower.terminate()
        follower.wait()


async def follow() -> None:
    """Follow as a server does; print when the snapshot was swapped, and when a page heard of it."""
    from channels.layers import get_channel_layer

    from promptops import events, live

    layer = get_channel_layer()
    page = await layer.new_channel()
    await layer.group_add(events.PAGES, page)
    events.pages_are_in(asyncio.get_running_loop())
    tasks = [asyncio.create_task(live.follow()), asyncio.create_task(events.relay(live.hear))]
    revision = (await live.acurrent()).revision
    await asyncio.sleep(1)
    print("ready", flush=True)

    async def watch() -> None:
        nonlocal revision
        while True:
            await asyncio.sleep(0.001)
            if (now := live.current().revision) != revision:
                revision = now
                print(f"swapped:{revision} {time.monotonic()}", flush=True)

    tasks.append(asyncio.create_task(watch()))
    while True:
        hint = await layer.receive(page)
        if hint["event"] == events.REVISION_RELEASED:
            at = time.monotonic()
            await asyncio.sleep(0.005)  # the watcher has its line first
            print(f"told:{hint['number']} {at}", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "publish":
        publish()
    else:
        import django

        django.setup()
        asyncio.run(follow())
