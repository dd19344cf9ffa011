"""Checking answers by their contract: the CPU time of usual and of the largest answers, and what an event loop feels.

Each time is the least of many, which other work on the machine changes little. `loop_ms` is the longest pause of an
event loop while the chain reads the answer.
"""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from promptops.engine import (
    Contract,
    JsonContract,
    LinesContract,
    LLMContractError,
    LLMMessage,
    LLMRequest,
    LLMResponse,
    TextContract,
    complete_chain,
)
from promptops.engine.contracts.json_text import MAX_BYTES, MAX_VALUES
from promptops.engine.contracts.schemas import CompiledSchema

REPEATS = 200
"""The most checks of one answer. A large one is checked for about `SECONDS`."""

SECONDS = 2.0

SEGMENTS: dict[str, Any] = {
    "type": "object",
    "required": ["title", "segment_prompts"],
    "additionalProperties": False,
    "properties": {
        "title": {"type": "string", "maxLength": 80},
        "segment_prompts": {
            "type": "array",
            "minItems": 6,
            "maxItems": 6,
            "items": {"type": "string", "minLength": 20, "pattern": r"^\S.*\.$"},
        },
    },
}
STRICT_TEXTS = {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 40, "pattern": "^[a-z]+$"}}
SENTENCE = "A red fox trots along the frozen creek at dawn, one paw raised. "


def segments(length: int, number: int = 6) -> str:
    """Return an answer of about `length` characters, in a fence with a preface."""
    prompt = (SENTENCE * (length // len(SENTENCE)))[: length // number].strip() + "."
    answer = json.dumps({"title": "The fox at the creek", "segment_prompts": [prompt] * number}, indent=2)
    return f"Here is the rollout:\n\n```json\n{answer}\n```"


def doubling() -> dict[str, Any]:
    """Return a schema whose work doubles with each level of an answer."""
    branches = [{"properties": {"c": {"$ref": "#/$defs/node"}}, "required": [name]} for name in ("missing", "absent")]
    return {"$ref": "#/$defs/node", "$defs": {"node": {"anyOf": branches}}}


CASES: list[tuple[str, Contract, str]] = [
    ("text, 0.4 KB, 4 rules", TextContract(True, 80, ("fox",), ("cut to",)), SENTENCE * 6),
    ("3 lines, 1 KB", LinesContract(3), "\n".join(f"{number}. {SENTENCE * 5}" for number in (1, 2, 3))),
    ("JSON, 2 KB, 7 texts", JsonContract.of(SEGMENTS), segments(1_900)),
    ("JSON, 2 KB, a breach", JsonContract.of(SEGMENTS), segments(1_900, number=5)),
    ("JSON, 15 KB, 7 texts", JsonContract.of(SEGMENTS), segments(15_000)),
    ("JSON, 2 KB, 240 texts", JsonContract.of(STRICT_TEXTS), json.dumps(["foxes"] * 240)),
    ("JSON, 16 KB, 1,820 texts", JsonContract.of(STRICT_TEXTS), json.dumps(["foxes"] * 1_820)),
    ("JSON, 250 KB, 7 texts", JsonContract.of(SEGMENTS), segments(250_000)),
    ("JSON, 10,000 values", JsonContract.of(STRICT_TEXTS), json.dumps(["red"] * (MAX_VALUES - 1))),
    ("JSON, 256 KiB of brackets", JsonContract.of(SEGMENTS), "[x" * (MAX_BYTES // 2)),
    ("JSON, work that doubles", JsonContract.of(doubling()), '{"c":' * 60 + "{}" + "}" * 60),
]


def bench_contracts() -> list[dict[str, Any]]:
    """Return one row for each answer, and one for compiling a schema."""
    rows = [{"what": "compile a schema of 0.4 KB", **_least(lambda: CompiledSchema(json.dumps(SEGMENTS)))}]
    for what, contract, answer in CASES:
        row = {"what": what, **_least(lambda contract=contract, answer=answer: _read(contract, answer))}  # type: ignore[misc]
        rows.append(row | {"bytes": len(answer.encode()), "loop_ms": asyncio.run(_pause(contract, answer))})
    return [dict.fromkeys(rows[-1], "") | row for row in rows]


def _read(contract: Contract, answer: str) -> None:
    try:
        contract.read(answer)
    except LLMContractError:
        return


def _least(work: Callable[[], object]) -> dict[str, float]:
    work()
    least, ends = float("inf"), time.monotonic() + SECONDS
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        least = min(least, time.perf_counter() - began)
        if time.monotonic() > ends:
            break
    return {"ms": round(least * 1000, 3)}


class _Memory:
    name = "memory"

    def __init__(self, answer: str) -> None:
        self._answer = answer

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Return the answer without a network."""
        return LLMResponse(self._answer, self.name, request.model, 0.0)


async def _pause(contract: Contract, answer: str) -> float:
    """Return the longest pause of the event loop in ms while the chain reads the answer, the least of five runs."""
    request = LLMRequest([LLMMessage("user", "a fox")], "m", contract=contract)
    pauses = []
    for _ in range(5):
        run = asyncio.ensure_future(complete_chain(request, [_Memory(answer)], timeout_ms=60_000))
        longest, before = 0.0, time.perf_counter()
        while not run.done():
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, before = max(longest, now - before), now
        run.exception()
        pauses.append(longest)
    return round(min(pauses) * 1000, 2)
