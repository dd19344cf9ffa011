"""The provider class of Groq."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from promptops.engine.auth import BEARER, AuthHeader
from promptops.engine.providers.openai_compatible import ChatCompletions, Profile
from promptops.engine.types import ReasoningEffort

BASE_URL = "https://api.groq.com/openai/v1"
KEY_ENV = "GROQ_API_KEY"


def _effort(model: str, effort: ReasoningEffort) -> str:
    """Return Groq's name for an effort. gpt-oss always thinks; Groq's other models know only none and default."""
    if "gpt-oss" in model:
        return "low" if effort == "none" else effort
    return "none" if effort == "none" else "default"


@dataclass
class GroqProvider(ChatCompletions):
    """Groq's chat completions. Without `api_key` the key is read from `GROQ_API_KEY` at construction."""

    api_key: str | None = field(default=None, repr=False)
    base_url: str = BASE_URL
    name: str = "groq"
    model: str | None = None
    timeout_ms: int | None = None
    key_env: str | None = KEY_ENV
    auth: AuthHeader = BEARER
    profile: ClassVar[Profile] = Profile(
        token_limit_field="max_completion_tokens",  # noqa: S106 - no password
        effort=_effort,
        refused_parameters=frozenset({"logprobs", "top_logprobs", "logit_bias", "n"}),
    )
