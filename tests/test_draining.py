"""The gate that runs pass."""

import asyncio

from promptops.draining import Gate


async def test_draining_waits_for_runs_under_way_and_then_no_longer():
    gate = Gate()
    ended = asyncio.Event()

    async def run() -> None:
        with gate.passing():
            await ended.wait()

    running = asyncio.create_task(run())
    await asyncio.sleep(0)
    assert await gate.drain(0.05) == 1
    assert gate.closed
    asyncio.get_running_loop().call_later(0.05, ended.set)
    assert await gate.drain(5) == 0
    await running
