"""What follows an error: one table, by the error's `kind`. docs/chain.md shows it in words.

Whether the next provider is asked is decided by the error's `retryable`, as the engine's contract says; the table adds
the two exceptions (a larger context, the operator's choice) and what the provider's health takes from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from promptops.engine.errors import LLMProviderError
from promptops.engine.types import LLMProvider

Choice: TypeAlias = Literal["auth", "not_found", "refused"]

FALL_BACK_CHOICES: frozenset[str] = frozenset({"auth", "not_found", "refused"})
"""What an operator can put into a provider's `fall_back_on`."""

LARGER_LIMIT_FACTOR = 4
"""How much larger the token limit of the one retry is: reasoning took all of the first, so room for as much again and
the answer is the least; 4 times leaves some. The contract's 256 become 1,024."""


@dataclass(frozen=True)
class Policy:
    """What follows one kind of error.

    `retryable`: the next provider is asked. `larger_context`: only providers with a larger context are.
    `choice`: the operator can choose, per provider, that the next one is asked. `retry`: where no provider is left,
    the same one is asked once more with a larger token limit. `breaker`: it counts against the provider.
    `cooldown`: the provider is left alone for a while even if it does not say for how long; if it says so, it is left
    alone whatever the kind. `misconfigured`: the provider is marked so until it answers again.
    """

    retryable: bool
    larger_context: bool = False
    choice: Choice | None = None
    retry: bool = False
    breaker: bool = False
    cooldown: bool = False
    misconfigured: bool = False


POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        "provider": Policy(retryable=True, breaker=True),
        "timeout": Policy(retryable=True, breaker=True),
        "transport": Policy(retryable=True, breaker=True),
        "rate_limited": Policy(retryable=True, cooldown=True),
        "quota": Policy(retryable=True, cooldown=True, misconfigured=True),
        "server": Policy(retryable=True, breaker=True),
        "malformed": Policy(retryable=True, breaker=True),
        "empty": Policy(retryable=True, breaker=True),
        "truncated": Policy(retryable=True, retry=True),
        "unavailable": Policy(retryable=True, breaker=True),
        "unexpected": Policy(retryable=True, breaker=True),
        "busy": Policy(retryable=True),
        "auth": Policy(retryable=False, choice="auth", misconfigured=True),
        "missing_key": Policy(retryable=False, choice="auth", misconfigured=True),
        "not_found": Policy(retryable=False, choice="not_found", misconfigured=True),
        "context_length": Policy(retryable=False, larger_context=True),
        "refused": Policy(retryable=False, choice="refused"),
        "bad_request": Policy(retryable=False),
        "interrupted": Policy(retryable=False),
    }
)


def policy_for(error: LLMProviderError) -> Policy:
    """The policy of an error; kinds that third parties made up are treated as their `retryable` says."""
    return POLICIES.get(error.kind) or (POLICIES["provider"] if error.retryable else POLICIES["bad_request"])


def chosen_to_fall_back(error: LLMProviderError, failed: LLMProvider) -> bool:
    """Whether the operator chose that this error of this provider falls back."""
    return policy_for(error).choice in getattr(failed, "fall_back_on", ())


def may_follow(error: LLMProviderError, failed: LLMProvider, other: LLMProvider) -> bool:
    """Whether `other` may answer after `error` of `failed`."""
    if error.retryable or chosen_to_fall_back(error, failed):
        return True
    return policy_for(error).larger_context and _has_larger_context(other, failed)


def _has_larger_context(other: LLMProvider, failed: LLMProvider) -> bool:
    size, needed = getattr(other, "context_tokens", None), getattr(failed, "context_tokens", None)
    return size is not None and needed is not None and size > needed
