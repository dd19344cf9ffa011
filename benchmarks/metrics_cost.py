"""What metrics add to a run over HTTP: the processor time of counting a run, and of counting its request.

It is measured in one thread without a server: it is below what two servers differ by on a busy machine.
"""

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

CALLS, ROUNDS = 2000, 20


def bench_metrics() -> list[dict[str, Any]]:
    """Return a row for each part: the least processor time of a call in 20 rounds, in milliseconds."""
    import django

    django.setup()
    from promptops.platform.requests import facts_of
    from promptops.runs.metrics import count
    from promptops.web.metrics import with_requests

    plan, outcome = _ended_run()
    scope = {"type": "http", "path": "/api/v1/run/enhance", "method": "POST", "headers": [], "client": ("127.0.0.1", 1)}

    async def answer(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    async def with_facts(asked: Any, receive: Any, send: Any) -> None:
        with facts_of(asked):
            await answer(asked, receive, send)

    def requests(application: Any) -> Callable[[], None]:
        async def send(_: Any) -> None:
            pass

        async def ask() -> None:
            for _ in range(CALLS):
                await application(scope, None, send)

        return lambda: asyncio.run(ask())

    def runs() -> None:
        for _ in range(CALLS):
            count(plan, outcome)

    bare, facts, counted = (_least(requests(each)) for each in (answer, with_facts, with_requests(answer)))
    return [
        {"part": "count a run", "cpu_ms": round(_least(runs), 4)},
        {"part": "count a request", "cpu_ms": round(counted - facts, 4)},
        {"part": "ids for the log", "cpu_ms": round(facts - bare, 4)},
    ]


def _ended_run() -> tuple[Any, Any]:
    """Return the plan and the outcome of a run with one call and two verdicts, as far as metrics read them."""
    usage = SimpleNamespace(input_tokens=20, output_tokens=60, cached_tokens=0, reasoning_tokens=0)
    attempt = SimpleNamespace(
        provider="p1", outcome="ok", error_kind=None, latency_ms=3.0, first_text_ms=None, started_ms=0.0, usage=usage,
        usage_estimated=False, cost=0.001,
    )  # fmt: skip
    verdict = SimpleNamespace(decision=SimpleNamespace(value="allow"))
    checks = [SimpleNamespace(verdict=verdict, side=side, blocked=False, seconds=0.001) for side in ("input", "output")]
    safety = SimpleNamespace(safety=SimpleNamespace(mode="enforce"))
    plan = SimpleNamespace(drill="", operation="enhance", source="machine", snapshot=safety)
    return plan, SimpleNamespace(status="ok", latency_ms=4.0, attempts=[attempt], checks=checks)


def _least(function: Callable[[], None]) -> float:
    """Return the least milliseconds of one of the calls that `function` makes."""
    taken = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        function()
        taken.append(time.thread_time() - began)
    return 1000 * min(taken) / CALLS
