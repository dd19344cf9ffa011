"""The fixtures of the engine's tests."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import httpx
import pytest

from promptops.engine import HealthRegistry, http, use_transport
from promptops.engine.providers.adaptations import learned
from promptops.engine.safety.fitting import Fitter, OnStep
from promptops.engine.safety.rubric import Row
from tests.engine.fault_servers import open_sockets
from tests.engine.helpers import Clock


@pytest.fixture(scope="session")
def fit_once() -> Callable[..., bytes]:
    """Return a `Fitter.fit` that fits the same rows once for a test run; they always give the same model."""
    fit, fitted = Fitter.fit, {}

    def once(fitter: Fitter, rows: Sequence[Row], *more: OnStep) -> bytes:
        key = frozenset(rows)
        if key not in fitted:
            fitted[key] = fit(fitter, rows, *more)
        return fitted[key]

    return once


@pytest.fixture(autouse=True)
def nothing_learned() -> Iterator[None]:
    """Clear the learned adaptations, because the servers of different tests have similar addresses."""
    learned.clear()
    yield
    learned.on_learned = None
    learned.clear()


@pytest.fixture
async def nothing_leaks() -> AsyncIterator[None]:
    """Check that a test leaves no task, socket or thread. `loopback` itself fails if its side stays open."""
    tasks, sockets, threads = asyncio.all_tasks(), open_sockets(), threading.active_count()
    yield
    await http.close_client()
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() - tasks - {asyncio.current_task()} == set()
    assert (open_sockets() - sockets, threading.active_count()) == (set(), threads)


@pytest.fixture
def answer():
    """Return `answer(body, status=...)`, which sets the server's answer and returns the list of its requests."""
    opened = []

    def make(body: object = None, status: int = 200, *, raises: Exception | None = None, stream: bool = False):
        seen: list[httpx.Request] = []

        def handler(request: httpx.Request) -> httpx.Response:
            seen.append(request)
            if raises is not None:
                raise raises
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            kind = "text/event-stream; charset=utf-8" if stream else "application/json"
            return httpx.Response(status, content=raw, headers={"content-type": kind})

        seam = use_transport(lambda: httpx.MockTransport(handler))
        seam.__enter__()
        opened.append(seam)
        return seen

    yield make
    for seam in reversed(opened):
        seam.__exit__(None, None, None)


@pytest.fixture
def clock() -> Clock:
    """Return the clock of `health`."""
    return Clock()


@pytest.fixture
def health(clock: Clock) -> HealthRegistry:
    """Return a registry with an injected clock."""
    return HealthRegistry(clock=clock, wall_clock=lambda: clock.now + 1e9)
