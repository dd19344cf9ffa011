"""The gate that counts runs in progress."""

import asyncio

import pytest

from promptops.platform.draining import Gate


async def test_draining_waits_for_runs_in_progress_up_to_its_limit():
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


async def test_remaining_runs_are_canceled_and_may_still_be_recorded():
    gate = Gate()
    recorded = []

    async def run() -> None:
        with gate.passing(asyncio.current_task()):
            try:
                await asyncio.Event().wait()  # for ever, but for being canceled
            finally:
                await asyncio.sleep(0.05)
                recorded.append("run")

    async def record() -> None:
        with gate.passing():
            await asyncio.sleep(0.1)
            recorded.append("record")

    running, recording = asyncio.create_task(run()), asyncio.create_task(record())
    await asyncio.sleep(0)
    assert await gate.drain(0) == 2
    assert await gate.cut_off(5) == 0
    assert recorded == ["run", "record"]
    await recording
    with pytest.raises(asyncio.CancelledError):
        await running
