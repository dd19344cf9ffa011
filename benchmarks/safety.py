"""Measure the guard's cost per text, how long it holds Python's lock, and how late an event loop beside it is."""

import asyncio
import gc
import hashlib
import statistics
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from promptops.engine.safety import evaluation, fasttext_classifier, turns
from promptops.engine.safety.guard import MAX_BYTES, SHIPPED, SafetyGuard, SafetyModel
from promptops.engine.safety.model import predict

DATA = evaluation.SETS
HOSTILE = (
    "a!",
    "\ufdfa",
    "a1! ",
    "n.u.d.e ",
    "k ",
    "to be or ",
    "a b c d e f g h ",
    "k1ll h1m ",
    "k*ll ",
    "zzqxkj ",
    "mrdre ",
    "k🔥",
    "<b>k",
)
"""Repeated to 8 KiB: what takes longest to read, or has the most windows."""
TICK_SECONDS = 0.001
ROUNDS = 20
SCHEDULER = Path("/proc/thread-self/schedstat")
"""Linux: the nanoseconds that a thread ran, and those that it was ready to run while no processor took it."""


def bench_safety() -> list[dict[str, Any]]:
    """Per text of each source, in milliseconds of processor time: the whole; the longest that a thread
    beside an event loop works without letting go of Python's lock, and the longest call into fastText."""
    guard = shipped()
    texts = evaluation.read_sets(DATA)
    rows = []
    for source in (evaluation.VIDEO, evaluation.ENHANCED, evaluation.IMAGE, evaluation.XSTEST):
        found = [item.text for item in texts if item.source == source]
        rows.append(row(source, guard, found))
    rows.append(row("8 KiB of prompts", guard, long_texts()))
    for pattern in HOSTILE:
        text = pattern * (MAX_BYTES // len(pattern.encode()))
        rows.append(row(f"8 KiB of {pattern!r}", guard, [text]))
    began = time.thread_time()
    SafetyModel.from_manifest(SHIPPED / "current.json").get()
    took = round((time.thread_time() - began) * 1000, 4)
    rows.append({"texts": "loading the model, once", "count": 1, "ms per text": took, "held": "", "fastText": ""})
    held = round(min(asyncio.run(arrival(guard)) for _ in range(3)), 3)
    return [
        *rows,
        {"texts": "1,000 callers until they wait", "count": 1000, "ms per text": "", "held": held, "fastText": ""},
    ]


async def arrival(guard: SafetyGuard, callers: int = 1000) -> float:
    """The milliseconds of processor time in which an event loop begins with so many callers, in one turn of it."""
    calls = [guard.check_async("a fox runs through fresh snow") for _ in range(callers)]
    began = time.thread_time()
    for call in calls:
        call.send(None)
    took = (time.thread_time() - began) * 1000
    for call in calls:
        call.close()
    return took


def row(name: str, guard: SafetyGuard, texts: list[str]) -> dict[str, Any]:
    held, inside = holds(guard, texts)
    cost = evaluation.cost(guard, texts)
    figures = {"ms per text": round(cost, 4), "held": round(held, 3), "fastText": round(inside, 3)}
    return {"texts": name, "count": len(texts), **figures}


def holds(guard: SafetyGuard, texts: list[str]) -> tuple[float, float]:
    """Milliseconds of the longest stretch of work between two pauses, and of the longest call into fastText: the best
    of three rounds."""
    stretches, calls = zip(*(hold(guard, texts) for _ in range(3)), strict=True)
    return min(stretches) * 1000, min(calls) * 1000


def hold(guard: SafetyGuard, texts: list[str]) -> tuple[float, float]:
    """One round of `holds()`, in seconds."""
    longest, longest_call, since = 0.0, 0.0, time.thread_time()

    def pause() -> None:
        nonlocal longest, since
        worked = time.thread_time() - since
        longest = max(longest, worked)
        if worked > turns.HOLD_SECONDS:  # as `let_go` does
            since = time.thread_time()

    def measured(*given: Any) -> Any:
        nonlocal longest_call
        began = time.thread_time()
        try:
            return predict(*given)
        finally:
            longest_call = max(longest_call, time.thread_time() - began)

    fasttext_classifier.predict = measured
    try:
        for text in texts:
            since = time.thread_time()
            guard.check_beside(text, pause)
            pause()
    finally:
        fasttext_classifier.predict = predict
    return longest, longest_call


def bench_loop() -> list[dict[str, Any]]:
    """Return how late an event loop is, in milliseconds, while texts are scored, beside the same loop while as many
    callers ask nothing and another thread keeps a processor as busy without Python's lock.

    By the clock, and without what the loop's thread was ready to run and waited for a processor, which is the machine's
    part; Python's lock and whatever else the loop waits for stays in.
    """
    return asyncio.run(loop_rows())


async def loop_rows() -> list[dict[str, Any]]:
    guard = shipped()
    await guard.check_async("warm")
    gc.collect()
    gc.freeze()  # as the server does
    typical = [item.text for item in evaluation.read_sets(DATA) if item.source == evaluation.VIDEO]
    cases: list[tuple[str, list[str], int]] = [
        ("typical prompts, 4 callers", typical, 4),
        ("8 KiB texts, 4 callers", long_texts(), 4),
        ("8 KiB hostile texts, 4 callers", [part * (MAX_BYTES // len(part.encode())) for part in HOSTILE], 4),
        ("1,000 callers at once", typical[:940] + long_texts()[:1] + typical[:59], 1000),
    ]
    rows = []
    for name, texts, callers in cases:
        lags, took = await lag_in_rounds(guard.check_async, texts, callers)
        rows.append({"texts": name, "load": "scoring", "seconds": round(took, 2), **lateness(lags)})
        end = threading.Event()
        busy = threading.Thread(target=burn, args=(end,))
        busy.start()
        lags, ended = await lag_in_rounds(nothing, texts, callers, took / ROUNDS)
        end.set()
        busy.join()
        rows.append({"texts": name, "load": "none, busy processor", "seconds": round(ended, 2), **lateness(lags)})
    lags, took = await lag_in_rounds(load, [""], 1)
    rows.append({"texts": "none", "load": f"loading a model, {ROUNDS} x", "seconds": round(took, 2), **lateness(lags)})
    return rows


class Lag(NamedTuple):
    """The milliseconds by which a tick was late: by the clock, and without the wait for a processor."""

    clock: float
    held: float


async def lag_in_rounds(
    ask: Callable[[str], Awaitable[Any]], texts: list[str], callers: int, at_least: float = 0.0
) -> tuple[list[Lag], float]:
    """Return the results of `lag()` in `ROUNDS` rounds together."""
    rounds = [await lag(ask, texts, callers, at_least) for _ in range(ROUNDS)]
    return [late for lags, _ in rounds for late in lags], sum(seconds for _, seconds in rounds)


async def lag(
    ask: Callable[[str], Awaitable[Any]], texts: list[str], callers: int, at_least: float = 0.0
) -> tuple[list[Lag], float]:
    """Return how late a ticker is while `callers` share the texts, and the seconds it took."""
    lags: list[Lag] = []
    done = False

    async def tick() -> None:
        while not done:
            start, before = time.perf_counter(), waited()
            await asyncio.sleep(TICK_SECONDS)
            late = (time.perf_counter() - start - TICK_SECONDS) * 1000
            lags.append(Lag(late, late - (waited() - before)))

    left = iter(texts)

    async def call() -> None:
        for text in left:
            await ask(text)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0)
    began = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(callers)))
    await asyncio.sleep(max(0.0, at_least - (time.perf_counter() - began)))
    done = True
    await ticking
    return lags, time.perf_counter() - began


def lateness(lags: list[Lag]) -> dict[str, Any]:
    """Return how late the ticks were."""
    ranked = sorted(lag.clock for lag in lags)
    held = [lag.held for lag in lags]
    return {
        "ticks": len(ranked),
        "p50_ms": round(statistics.median(ranked), 2),
        "p99_ms": round(ranked[int(len(ranked) * 0.99)], 2),
        "max_ms": round(ranked[-1], 2),
        "over 5 ms": sum(value > 5 for value in ranked),
        "max_ms held": round(max(held), 2) if SCHEDULER.exists() else "",
        "held over 5 ms": sum(value > 5 for value in held) if SCHEDULER.exists() else "",
    }


def waited() -> float:
    """The milliseconds that this thread has been ready to run and waited for a processor; 0 where nothing tells."""
    return int(SCHEDULER.read_text().split()[1]) / 1e6 if SCHEDULER.exists() else 0.0


async def load(text: str) -> None:
    await asyncio.to_thread(SafetyModel.from_manifest(SHIPPED / "current.json").get)


async def nothing(text: str) -> None:
    await asyncio.sleep(0)


def burn(end: threading.Event) -> None:
    """Keep a processor busy; hashing this much lets go of Python's lock."""
    block = bytes(1 << 20)
    while not end.is_set():
        hashlib.sha256(block).digest()


def shipped() -> SafetyGuard:
    return SafetyGuard(SafetyModel.from_manifest(SHIPPED / "current.json"))


def long_texts() -> list[str]:
    """The prompts of the evaluation set, end to end, in texts that are just short enough to be read."""
    words = " ".join(item.text for item in evaluation.read_sets(DATA) if item.source == evaluation.ENHANCED).split()
    found, text = [], ""
    for word in words:
        if len(f"{text} {word}".encode()) > MAX_BYTES:
            found.append(text)
            text = word
        text = f"{text} {word}".strip()
    return found[:20]
