"""Calls to a provider that is not in the chain yet: the list of its models, and one test.

They are no runs: nothing is recorded, and the health of the chain does not change. Tests of providers in the chain are
runs; they belong to `promptops.runs`.
"""

import json

from asgiref.sync import async_to_sync
from django.core.signing import Signer
from django.utils.crypto import constant_time_compare

from promptops.engine.errors import LLMProviderError
from promptops.engine.providers import build_provider
from promptops.engine.providers.openai_compatible import ChatCompletions
from promptops.engine.types import LLMMessage, LLMRequest, LLMResponse
from promptops.providers.live_part import provider_spec
from promptops.providers.models import Provider

INSTRUCTION, INPUT = "Describe the scene in one short sentence.", "a fox running through snow"
MAX_TOKENS = 256
TEST_MS = 20_000


def models_of(provider: Provider) -> list[str]:
    """Return the ids of the models that the provider lists. Raises `LLMProviderError`."""
    built = build_provider(provider_spec(provider))
    if not isinstance(built, ChatCompletions):
        raise LLMProviderError(f"{provider.name} has no list of models")
    return async_to_sync(built.models)()


def try_call(provider: Provider) -> LLMResponse:
    """Return the provider's answer to a short request. Raises `LLMProviderError`."""
    request = LLMRequest(
        [LLMMessage("system", INSTRUCTION), LLMMessage("user", INPUT)],
        "",
        max_tokens=MAX_TOKENS,
        timeout_ms=TEST_MS,
    )
    return async_to_sync(build_provider(provider_spec(provider)).complete)(request)


def seal(provider: Provider, key: str) -> str:
    """Return the page's proof that the provider was tested with this address, model and key. It reveals none of them.

    The key is as typed, since encrypting it gives another text each time.
    """
    tested = [provider.kind, provider.base_url, provider.model, provider.key_env, key.strip()]
    return Signer(salt="promptops.providers.trials").signature(json.dumps(tested))


def is_tested(provider: Provider, key: str, shown: str) -> bool:
    """Return whether the page's proof `shown` is that of these values."""
    return constant_time_compare(shown, seal(provider, key))
