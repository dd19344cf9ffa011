"""Reading a provider's answer by its contract, without holding up the event loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from promptops.engine.answers import Reading
from promptops.engine.contracts import work
from promptops.engine.contracts.kinds import Contract
from promptops.engine.errors import LLMContractError

CHECKED_AT_ONCE = 16_384
"""The most characters of an answer that is checked on the event loop. An answer of 15 KB with a few long texts takes
0.6 ms there (`python -m benchmarks contracts`), little more than the way to a thread and back."""

VALUES_AT_ONCE = 250
"""The most values of such an answer, counted by its brackets and commas."""

WORK_AT_ONCE = 1_000
"""The most work of a check on the event loop, about 5 ms. A check that needs more is made again in a thread."""


async def read_by_contract(contract: Contract, written: str, *, provider: str, truncated: bool) -> Reading:
    """Return the answer `written` as the contract reads it.

    Raises `LLMContractError` with the provider's name and everything that a repair needs. `truncated` says that the
    answer was cut off at the token limit.
    """
    try:
        if len(written) <= CHECKED_AT_ONCE and sum(map(written.count, "[{,")) <= VALUES_AT_ONCE:
            with suppress(work.TooMuchWork), work.at_most(WORK_AT_ONCE):
                return contract.read(written)
        return await asyncio.to_thread(contract.read, written)
    except LLMContractError as breach:
        cut_off = " (cut off at the token limit)" if truncated else ""
        error = LLMContractError(f"{provider} broke the contract: {breach}{cut_off}")
        error.problems, error.answer, error.truncated = breach.problems, written, truncated
        raise error from None
