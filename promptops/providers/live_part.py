"""Providers and their order (the chain) as a part of the live configuration: how they load, what a release keeps."""

import logging
from typing import Any, cast

from promptops.engine.snapshot import ProviderSpec
from promptops.engine.types import JsonMode, Prices
from promptops.ledger import parts
from promptops.ledger.models import LiveConfiguration
from promptops.platform import crypto
from promptops.providers.key_variables import problem_of
from promptops.providers.models import Provider

log = logging.getLogger(__name__)

RELEASED = (
    "name",
    "kind",
    "base_url",
    "model",
    "timeout_ms",
    "max_concurrent",
    "context_tokens",
    "price_input",
    "price_cached",
    "price_output",
    "first_text_ms",
    "stall_ms",
    "fall_back_on_auth",
    "fall_back_on_not_found",
    "fall_back_on_refused",
    "adaptations",
    "json_mode",
)
"""The columns of a provider that a release and the audit keep. Other columns are never kept, since one may hold a
secret. Of the key they keep only its source."""


def provider_spec(provider: Provider) -> ProviderSpec:
    """Return a provider as a run uses it, with its decrypted key (which is never in the repr)."""
    key, key_problem = None, problem_of(provider)
    if provider.key_encrypted:
        try:
            key = crypto.decrypt(provider.key_encrypted)
        except crypto.UnreadableSecret:
            log.error("The stored key of provider %s cannot be read. Enter the key again.", provider.name)
            # No other key takes its place: the vendor's variable might hold one for another address.
            key_problem = "its stored key cannot be read. Enter the key again."
    return ProviderSpec(
        id=provider.pk,
        name=provider.name,
        kind=provider.kind,
        base_url=provider.base_url,
        model=provider.model,
        timeout_ms=provider.timeout_ms,
        api_key=key,
        key_env=provider.key_env or None,
        key_problem=key_problem,
        max_concurrent=provider.max_concurrent,
        prices=_prices(provider),
        fall_back_on=frozenset(
            kind
            for kind, chosen in (
                ("auth", provider.fall_back_on_auth),
                ("not_found", provider.fall_back_on_not_found),
                ("refused", provider.fall_back_on_refused),
            )
            if chosen
        ),
        context_tokens=provider.context_tokens,
        first_text_ms=provider.first_text_ms,
        stall_ms=provider.stall_ms,
        adaptations=frozenset(provider.adaptations),
        json_mode=cast("JsonMode", provider.json_mode) or None,
    )


def _prices(provider: Provider) -> Prices | None:
    if provider.price_input is None or provider.price_output is None:
        return None
    return Prices(input=provider.price_input, cached=provider.price_cached, output=provider.price_output)


def load(config: LiveConfiguration) -> dict[str, Any]:
    """Return the providers that are on, in the order of the chain."""
    return {"providers": tuple(provider_spec(provider) for provider in Provider.objects.filter(enabled=True))}


def release_values(config: LiveConfiguration) -> list[dict[str, Any]]:
    """Return the kept values of the providers that are on, in the order of the chain."""
    return [released_values(provider) for provider in Provider.objects.filter(enabled=True)]


def released_values(provider: Provider) -> dict[str, Any]:
    """Return the values of a provider that a release keeps."""
    return {**parts.columns(provider, RELEASED), "key": provider.key_state}


parts.register(parts.Part("providers", "provider", load, release_values))
