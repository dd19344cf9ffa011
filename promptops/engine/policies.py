"""The consequences of an error, in one table by the error's `kind`. docs/chain.md shows it in words.

The error's `retryable` decides whether the next provider is called, as the engine's contract says. The table adds the
two exceptions (a larger context, the operator's choice) and the effect on the provider's health. Calls and counters do
not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from promptops.engine.errors import LLMProviderError
from promptops.engine.types import LLMProvider

Choice: TypeAlias = Literal["auth", "not_found", "refused"]
Retry: TypeAlias = Literal["same_request", "larger_limit", "repair"]

FALL_BACK_CHOICES: frozenset[str] = frozenset(get_args(Choice))
"""The values that an operator can put into a provider's `fall_back_on`."""

LARGER_LIMIT_FACTOR = 4
"""The factor for the token limit of the one retry. Reasoning used up the first limit, so the retry needs room for as
much reasoning and for the answer, and some spare. The contract's 256 become 1,024."""

RETRY_PAUSE_SECONDS = 0.25
"""The pause before the same provider is called again: the longest back-off of Envoy's default retry policy (25 ms, at
most 10 times that). If the provider is down for every run, its breaker is open after that pause. There is no jitter,
because the budget allows at most 10 retries at once."""

COOLDOWN_SECONDS = 1.0
"""The cooldown after a 429 that names no time. Retry-After counts in whole seconds, and 1 is the smallest."""

QUOTA_COOLDOWN_SECONDS = 300.0
"""The cooldown of an account without credit, if the provider names no time. Only a person can add credit, which takes
minutes. Five minutes save a failed call in every run, and still notice a payment soon enough."""


@dataclass(frozen=True)
class Policy:
    """The consequences of one kind of error.

    - `retryable`: the run falls back to the next provider.
    - `larger_context`: it falls back to providers with a larger context only.
    - `choice`: the operator can choose, per provider, that the run falls back.
    - `retry`: if no other provider may be called, the run calls the same one once more, with the same request, a larger
      token limit, or the wrong answer and what is wrong with it.
    - `breaker`: the error counts against the provider.
    - `answered`: the provider works, so the error counts like an answer.
    - `cooldown`: seconds for which runs avoid the provider if it names no time. A time that it names always counts.
    - `misconfigured`: the provider is marked so until it answers again.
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
        "contract": Policy(retryable=True, retry="repair", answered=True),
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
    """Return the policy of an error. A kind that a third party made up is treated by its `retryable`."""
    return POLICIES.get(error.kind) or (POLICIES["provider"] if error.retryable else POLICIES["bad_request"])


def chosen_to_fall_back(error: LLMProviderError, failed: LLMProvider) -> bool:
    """Return whether the operator chose to fall back after this error of this provider."""
    return policy_for(error).choice in getattr(failed, "fall_back_on", ())


def may_follow(error: LLMProviderError, failed: LLMProvider, other: LLMProvider) -> bool:
    """Return whether `other` may answer after `error` of `failed`."""
    if error.retryable or chosen_to_fall_back(error, failed):
        return True
    return policy_for(error).larger_context and _has_larger_context(other, failed)


def _has_larger_context(other: LLMProvider, failed: LLMProvider) -> bool:
    size, needed = getattr(other, "context_tokens", None), getattr(failed, "context_tokens", None)
    return size is not None and needed is not None and size > needed
