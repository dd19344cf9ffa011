"""Tell how a run met its contract, from the records of its attempts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

from promptops.engine.errors import LLMContractError

ContractOutcome: TypeAlias = Literal["at_once", "fell_back", "repaired", "breached"]
"""No answer broke the contract; another provider answered after a breach; a repair answered; no answer met it."""


class AttemptRecord(Protocol):
    """The part of an attempt that is needed. A stored row of an attempt has it too; its `error_kind` may be ""."""

    @property
    def outcome(self) -> str: ...
    @property
    def error_kind(self) -> str | None: ...
    @property
    def repair(self) -> bool: ...


def contract_outcome(attempts: Sequence[AttemptRecord]) -> ContractOutcome | None:
    """Return how a run under a contract ended. `None` for a run that failed without an answer to check."""
    was_breached = any(attempt.error_kind == LLMContractError.kind for attempt in attempts)
    winner = next((attempt for attempt in attempts if attempt.outcome == "succeeded"), None)
    if winner is None:
        return "breached" if was_breached else None
    if winner.repair:
        return "repaired"
    return "fell_back" if was_breached else "at_once"
