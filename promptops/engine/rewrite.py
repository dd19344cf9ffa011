"""Ask for alternatives to a prompt, and return them as a list. The parser itself is in `answers`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from promptops.engine.answers import parse_alternatives
from promptops.engine.operations import DEFAULT_COUNT
from promptops.engine.types import LLMResponse


@dataclass(frozen=True)
class RewriteOptions:
    """The number of alternatives, and their temperature; `None` is the enhancer's own."""

    count: int = DEFAULT_COUNT
    temperature: float | None = None


@dataclass(frozen=True)
class RewriteResult:
    """The alternatives to `seed_prompt` and their origin. `latency_ms` is the provider's."""

    seed_prompt: str
    alternatives: list[str]
    provider: str
    model: str
    latency_ms: float
    fallback_used: bool = False


class Rewriter(Protocol):
    """The part of an enhancer that `build_rewrite` needs. It may also take `count` and `temperature` as keywords."""

    async def rewrite(self, seed_prompt: str, /) -> LLMResponse: ...


async def build_rewrite(
    enhancer: Rewriter, seed_prompt: str, *, options: RewriteOptions | None = None
) -> RewriteResult:
    """Ask `enhancer` for alternatives to `seed_prompt`.

    Raises `ValueError` if the seed is blank, and every error of the enhancer.
    """
    if not seed_prompt.strip():
        raise ValueError("The prompt to rewrite is empty")
    options = options or RewriteOptions()
    response = await enhancer.rewrite(seed_prompt, **_accepted(enhancer.rewrite, options))
    return RewriteResult(
        seed_prompt=seed_prompt,
        alternatives=parse_alternatives(response.content, options.count),
        provider=response.provider,
        model=response.model,
        latency_ms=response.latency_ms,
        fallback_used=response.fallback_used,
    )


def _accepted(rewrite: Callable[..., Any], options: RewriteOptions) -> dict[str, Any]:
    """Return the options that are set and for which `rewrite` has a keyword."""
    wanted = {"count": options.count, "temperature": options.temperature}
    parameters = inspect.signature(rewrite).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return {name: value for name, value in wanted.items() if value is not None and (takes_any or name in parameters)}
