"""The provider class of Cerebras."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from promptops.engine.auth import BEARER, AuthHeader
from promptops.engine.providers.openai_compatible import ChatCompletions, Profile

BASE_URL = "https://api.cerebras.ai/v1"
KEY_ENV = "CEREBRAS_API_KEY"


@dataclass
class CerebrasProvider(ChatCompletions):
    """Cerebras's chat completions. Without `api_key` the key is read from `CEREBRAS_API_KEY` at construction."""

    api_key: str | None = field(default=None, repr=False)
    base_url: str = BASE_URL
    name: str = "cerebras"
    model: str | None = None
    timeout_ms: int | None = None
    key_env: str | None = KEY_ENV
    auth: AuthHeader = BEARER
    profile: ClassVar[Profile] = Profile(
        token_limit_field="max_completion_tokens",  # noqa: S106 - no password
        streams_json=False,  # reasoning models refuse it
        refused_parameters=frozenset(
            {"frequency_penalty", "presence_penalty", "logit_bias", "parallel_tool_calls", "service_tier"}
        ),
    )
