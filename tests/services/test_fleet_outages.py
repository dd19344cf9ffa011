"""In the middle of releases everything fails in turn. No server misses a read, and nothing recorded is lost."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from tests.services.outages import ControlRoom, control_room, until

UNAVAILABLE = (503, "unavailable", "5")
HOUR = 3600.0
AFTERWARDS_SECONDS = 40.0
"""The longest time until all servers run the newest revision: two heartbeats, and pauses of following."""

PATIENT = aiohttp.ClientTimeout(total=60)

Fault = Callable[[ControlRoom], Awaitable[None]]


async def redis_is_killed(room: ControlRoom) -> None:
    room.redis.kill()
    await _warned(room, True)
    await room.another_release()
    await asyncio.to_thread(room.redis.start)
    await _warned(room, False)


async def _warned(room: ControlRoom, is_lost: bool) -> None:
    """Wait until each process shows whether Redis is lost."""
    async with asyncio.timeout(60):
        for process in room.processes.values():
            while True:
                async with room.session.get(f"{process.address}/readyz") as answer:
                    if (
                        json.loads(await answer.text())["redis"] == {"reachable": not is_lost}
                    ) and answer.status == 200:
                        break
                await asyncio.sleep(0.2)


async def a_process_is_killed(room: ControlRoom) -> None:
    room.kill_process(1)
    await room.another_release()
    await room.start_processes(1)


async def postgresql_is_restarted(room: ControlRoom) -> None:
    await asyncio.to_thread(room.database.stop)
    looks, runs = room.looks, len(room.runs)
    publication = {"text": "No.", "expected": 1}
    assert await room.refusal("POST", "templates/enhance/publish", json=publication) == UNAVAILABLE
    assert await room.refusal("POST", "templates/enhance/rollback", json={"expected": 1}) == UNAVAILABLE
    assert await room.refusal("GET", "audit") == UNAVAILABLE
    await asyncio.sleep(1.0)
    assert room.looks > looks, "nobody could read what is live meanwhile"
    assert len(room.runs) > runs, "nobody could run an operation meanwhile"
    await asyncio.to_thread(room.database.start)


async def postgresql_hangs(room: ControlRoom) -> None:
    """It keeps every connection open and answers none. Each change is refused once its time is over."""
    with room.database.frozen():
        publication = {"text": "No.", "expected": 1}
        changes = [("templates/enhance/publish", publication), ("templates/enhance/rollback", {"expected": 1})]
        refused = (room.refusal("POST", path, json=body, timeout=PATIENT) for path, body in changes)
        assert await asyncio.gather(*refused) == [UNAVAILABLE] * 2
        looks, runs = room.looks, len(room.runs)
        await asyncio.sleep(5.0)
        assert room.looks > looks, "nobody could read what is live meanwhile"
        assert len(room.runs) > runs, "nobody could run an operation meanwhile"


async def a_server_is_cut_off(room: ControlRoom, seconds: float = 1.0) -> None:
    follower = room.servers[-1]
    with follower.line.cut():
        await until(lambda: not follower.live.state.way, 60)  # it has read what was on its way
        follower.shift.seconds += 60.0 - seconds
        await room.another_release()
        await asyncio.sleep(seconds)
        assert follower.live.state.state == "stale"


async def a_server_is_cut_off_for_a_minute(room: ControlRoom) -> None:
    await a_server_is_cut_off(room, 60.0)


async def the_control_room_is_dead_for_an_hour(room: ControlRoom) -> None:
    room.kill_processes()
    await until(lambda: not any(each.live.state.way for each in room.servers), 60)  # all have noticed
    for follower in room.servers:
        follower.shift.seconds += HOUR
    await room.servers[0].restart()
    states = {follower.live.state.state for follower in room.servers}
    assert states == {"stale"}
    assert room.servers[0].live.state.source == "cache"
    await asyncio.sleep(0.5)
    await room.start_processes(0, 1)


LONG = [
    (5, redis_is_killed),
    (15, a_process_is_killed),
    (25, postgresql_is_restarted),
    (35, a_server_is_cut_off_for_a_minute),
    (55, postgresql_hangs),
    (80, the_control_room_is_dead_for_an_hour),
]
SHORT = [redis_is_killed, a_process_is_killed, postgresql_is_restarted, a_server_is_cut_off]


async def happen(room: ControlRoom, faults: list[tuple[int, Fault]]) -> None:
    """Let each fault happen once that many releases are made. The publisher goes on meanwhile."""
    for number, fault in faults:
        await until(lambda number=number: len(room.published) >= number, 300)
        before = len(room.published)
        await fault(room)
        print(f"{fault.__name__}: releases {before} to {len(room.published)}")


async def proven(room: ControlRoom, releases: int, faults: list[tuple[int, Fault]], pause: float) -> None:
    """Publish while everything fails in turn, and check reads, revisions and records."""
    happening = asyncio.create_task(happen(room, faults))
    while len(room.published) < releases or not happening.done():
        await room.release(len(room.published))
        await asyncio.sleep(pause)
        if happening.done():
            await happening
    took = await room.until_all_run(max(room.published), AFTERWARDS_SECONDS)
    await asyncio.sleep(0.2)  # a few reads of the newest revision
    await room.check_records()
    failures = [failure for each in room.servers for failure in each.failures]
    figures = {
        "releases": len(room.published),
        "reads": sum(each.reads for each in room.servers),
        "failed_reads": len(failures),
        "looks_at_live": room.looks,
        "runs": len(room.runs),
        "failed_looks_and_runs": len(room.unexpected),
        "runs_lost_with_a_killed_process": room.lost_with_a_process,
        "refused_and_repeated": len(room.refusals),
        "seconds_until_all_ran_the_newest": round(took, 1),
    }
    print(json.dumps(figures))
    assert failures == []
    assert room.unexpected == []
    assert all(refusal["retry_after"] for refusal in room.refusals)
    assert all(max(each.texts)[0] == max(room.published) for each in room.servers)
    room.kill_processes()
    assert "Traceback" not in room.output, room.output


# 23 s alone, with the tables that tests share: three starts of a process (two at once), and 1 to 5 s for each fault.
async def test_every_fault_amid_releases(tmp_path: Path) -> None:
    faults = random.Random(18).sample(SHORT, len(SHORT))
    async with control_room(tmp_path, servers=3) as room:
        await proven(room, 10, list(zip(range(1, 9, 2), faults, strict=True)), pause=0.3)


@pytest.mark.proof
async def test_every_fault_amid_a_hundred_releases(tmp_path: Path) -> None:
    async with control_room(tmp_path, servers=6) as room:
        await proven(room, 100, LONG, pause=1.5)
        await room.check_chain()


@pytest.mark.proof
async def test_a_postgresql_that_hangs_stops_changes_only(tmp_path: Path) -> None:
    async with control_room(tmp_path, servers=2) as room:
        await proven(room, 4, [(2, postgresql_hangs)], pause=0.3)
        await room.check_chain()
