"""What follows an error: one table, by the error's `kind`. docs/chain.md shows it in words.

Whether the next provider is asked is decided by the error's `retryable`, as the engine's contract says; the table adds
the two exceptions (a larger context, the operator's choice) and what the provider's health takes from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from promptops.engine.errors import LLMProviderError
from promptops.engine.types import LLMProvider

Choice: TypeAlias = Literal["auth", "not_found", "refused"]
Retry: TypeAlias = Literal["same_request", "larger_limit"]

FALL_BACK_CHOICES: frozenset[str] = frozenset(get_args(Choice))
"""What an operator can put into a provider's `fall_back_on`."""

LARGER_LIMIT_FACTOR = 4
"""How much larger the token limit of the one retry is: reasoning took all of the first, so room for as much again and
the answer is the least; 4 times leaves some. The contract's 256 become 1,024."""

RETRY_PAUSE_SECONDS = 0.25
"""The pause before the same provider is asked again: the longest back-off of Envoy's default retry policy (25 ms, at
most 10 times that). Long enough to see that a provider is down for everybody: its breaker is open by then. No jitter,
because the budget lets at most 10 retries out at once."""

COOLDOWN_SECONDS = 1.0
"""The cooldown after a 429 that does not say for how long; Retry-After counts in whole seconds, 1 is its smallest."""

QUOTA_COOLDOWN_SECONDS = 300.0
"""The cooldown of an account without credit that does not say for how long. Only a person can end it, which takes
minutes; five of them keep a chain from paying a failed call for every run, and notice a payment soon enough."""


@dataclass(frozen=True)
class Policy:
    """What follows one kind of error.

    `retryable`: the next provider is asked. `larger_context`: only providers with a larger context are.
    `choice`: the operator can choose, per provider, that the next one is asked. `retry`: where nobody else may be
    asked, the same one is asked once more, with the same request or a larger token limit. `breaker`: it counts against
    the provider. `answered`: the provider works, which counts for it like an answer. `cooldown`: for how many seconds
    the provider is left alone if it does not say for how long; if it says so, it is left alone whatever the kind.
    `misconfigured`: the provider is marked so until it answers again.
    """

    retryable: bool
    larger_context: bool = False
    choice: Choice | None = None
    retry: Retry | None = None
    breaker: bool = False
    answered: bool = False
    cooldown: float | None = None
    misconfigured: bool = False


POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        "provider": Policy(retryable=True, breaker=True),
        "timeout": Policy(retryable=True, breaker=True),
        "transport": Policy(retryable=True, retry="same_request", breaker=True),
        "rate_limited": Policy(retryable=True, retry="same_request", cooldown=COOLDOWN_SECONDS),
        "quota": Policy(retryable=True, cooldown=QUOTA_COOLDOWN_SECONDS, misconfigured=True),
        "server": Policy(retryable=True, retry="same_request", breaker=True),
        "malformed": Policy(retryable=True, breaker=True),
        "empty": Policy(retryable=True, breaker=True),
        "truncated": Policy(retryable=True, retry="larger_limit"),
        "unavailable": Policy(retryable=True, breaker=True),
        "unexpected": Policy(retryable=True, breaker=True),
        "busy": Policy(retryable=True),
        "auth": Policy(retryable=False, choice="auth", misconfigured=True),
        "missing_key": Policy(retryable=False, choice="auth", misconfigured=True),
        "not_found": Policy(retryable=False, choice="not_found", misconfigured=True),
        "context_length": Policy(retryable=False, larger_context=True),
        "refused": Policy(retryable=False, choice="refused", answered=True),
        "bad_request": Policy(retryable=False),
        "interrupted": Policy(retryable=False),
    }
)


def policy_for(error: LLMProviderError) -> Policy:
    """The policy of an error; kinds that third parties made up are treated as their `retryable` says."""
    return POLICIES.get(error.kind) or (POLICIES["provider"] if error.retryable else POLICIES["bad_request"])


def chosen_to_fall_back(error: LLMProviderError, failed: LLMProvider) -> bool:
    """Return whether the operator chose that this error of this provider falls back."""
    return policy_for(error).choice in getattr(failed, "fall_back_on", ())


def may_follow(error: LLMProviderError, failed: LLMProvider, other: LLMProvider) -> bool:
    """Whether `other` may answer after `error` of `failed`."""
    if error.retryable or chosen_to_fall_back(error, failed):
        return True
    return policy_for(error).larger_context and _has_larger_context(other, failed)


def _has_larger_context(other: LLMProvider, failed: LLMProvider) -> bool:
    size, needed = getattr(other, "context_tokens", None), getattr(failed, "context_tokens", None)
    return size is not None and needed is not None and size > needed
