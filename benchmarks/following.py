"""Measure how soon a process runs a release: the process that publishes, and another one with and without Redis."""

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
LOST_SECONDS = 20.0
"""A hint that takes longer is lost, and ends the benchmark."""


def bench_following() -> list[dict[str, Any]]:
    """Return the times from the publisher's commit until a process runs the release. Takes about a minute."""
    rows = []
    for redis_url in ("", os.environ.get("BENCH_REDIS_URL") or REDIS_URL):
        printed = subprocess.run(
            [sys.executable, "-m", "benchmarks.following", "publish", str(RELEASES)],
            env=os.environ | {"REDIS_URL": redis_url},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        rows += _rows("with Redis" if redis_url else "without Redis", printed)
    return rows


def _rows(how: str, printed: str) -> list[dict[str, Any]]:
    """Return a row for each kind of line `kind milliseconds` that the publisher printed."""
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


def publish(releases: int) -> None:
    """Release again and again, and print how soon this process and one that follows run the release."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import transaction

    from promptops.ledger.audit import COMMAND_LINE
    from promptops.live import snapshots as live
    from promptops.prompts.actions.releases import Content
    from promptops.prompts.actions.releases import publish as publish_template
    from promptops.prompts.actions.templates import create_template
    from promptops.prompts.models import Template

    call_command("migrate", verbosity=0)
    template = Template.objects.filter(name="enhance").first()
    template = template or create_template("enhance", "enhance", by=COMMAND_LINE)
    follower = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.following", "follow", str(LOST_SECONDS)], stdout=subprocess.PIPE, text=True
    )
    assert follower.stdout
    try:
        assert follower.stdout.readline() == "ready\n"
        for number in range(releases):
            # The follower has just looked, or heard. Any moment until its next look is equally likely.
            time.sleep(random.uniform(0, live.FOLLOW_SECONDS))
            template.refresh_from_db()
            with transaction.atomic():
                # The first thing that happens after the commit.
                committed: list[float] = []
                transaction.on_commit(lambda committed=committed: committed.append(time.monotonic()))
                publish_template(
                    template, Content(f"Text {number}"), by=COMMAND_LINE, expected=template.live_version_id
                )
            returned = time.monotonic()
            print("publishing process, until publish returns", (returned - committed[0]) * 1000)
            revision, heard = follower.stdout.readline().split() or sys.exit("The follower has ended.")
            assert int(revision) == live.current().revision
            print("other process, snapshot swapped and pages told", (float(heard) - committed[0]) * 1000)
    finally:
        follower.terminate()
        follower.wait()


async def follow(lost_after: float) -> None:
    """Follow as a server does, and print each revision that a page hears of, with the moment."""
    from channels.layers import get_channel_layer

    from promptops.live import snapshots as live
    from promptops.platform import events

    layer = get_channel_layer()
    page = await layer.new_channel()
    await layer.group_add(events.PAGES, page)
    events.pages_are_in(asyncio.get_running_loop())
    # The loop itself would let go of them.
    _tasks = [asyncio.create_task(live.follow()), asyncio.create_task(events.relay(live.hear))]
    shown = (await live.acurrent()).revision  # the first look tells pages of it, which are there already
    await asyncio.sleep(1)
    print("ready", flush=True)
    while True:
        try:
            async with asyncio.timeout(lost_after):
                hint = await layer.receive(page)
                while hint.get("event") != events.REVISION_RELEASED or hint["number"] <= shown:
                    hint = await layer.receive(page)
        except TimeoutError:
            sys.exit(f"No release was heard of within {lost_after:g} s.")
        heard = time.monotonic()
        assert live.current().revision >= hint["number"], "the page heard of a release before its process runs it"
        print(hint["number"], heard, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "publish":
        publish(int(sys.argv[2]))
    else:
        import django

        django.setup()
        asyncio.run(follow(float(sys.argv[2])))
