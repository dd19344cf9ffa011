"""Provider kinds: how a `ProviderSpec` becomes a provider."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from types import MappingProxyType
from typing import Any, TypeAlias

from promptops.engine.providers import cerebras, groq
from promptops.engine.providers.cerebras import CerebrasProvider
from promptops.engine.providers.groq import GroqProvider
from promptops.engine.providers.local import LocalProvider
from promptops.engine.providers.openai_compatible import OpenAICompatibleProvider
from promptops.engine.snapshot import ProviderSpec
from promptops.engine.types import LLMProvider, ProviderOptions

Factory: TypeAlias = Callable[[ProviderSpec], LLMProvider]

_factories: dict[str, Factory] = {}

KINDS = MappingProxyType(_factories)
"""The registered kinds and their factories, in the order of their registration."""


def register_kind(kind: str, factory: Factory) -> None:
    """Make `factory` build the providers of `kind`. Raises `ValueError` for a kind that is taken."""
    if kind in _factories:
        raise ValueError(f"The provider kind {kind!r} is already registered")
    _factories[kind] = factory


def build_provider(spec: ProviderSpec) -> LLMProvider:
    """The provider that `spec` describes. Raises `ValueError` for an unknown kind."""
    factory = _factories.get(spec.kind)
    if factory is None:
        raise ValueError(f"Unknown provider kind {spec.kind!r}; known are {', '.join(_factories)}")
    return factory(spec)


def _options(spec: ProviderSpec) -> dict[str, Any]:
    return {option.name: getattr(spec, option.name) for option in fields(ProviderOptions)}


def _cerebras(spec: ProviderSpec) -> LLMProvider:
    return CerebrasProvider(
        api_key=spec.api_key,
        base_url=spec.base_url or cerebras.BASE_URL,
        name=spec.name,
        model=spec.model or None,
        timeout_ms=spec.timeout_ms,
        key_env=spec.key_env or cerebras.KEY_ENV,
        **_options(spec),
    )


def _groq(spec: ProviderSpec) -> LLMProvider:
    return GroqProvider(
        api_key=spec.api_key,
        base_url=spec.base_url or groq.BASE_URL,
        name=spec.name,
        model=spec.model or None,
        timeout_ms=spec.timeout_ms,
        key_env=spec.key_env or groq.KEY_ENV,
        **_options(spec),
    )


def _openai_compatible(spec: ProviderSpec) -> LLMProvider:
    return OpenAICompatibleProvider(
        base_url=spec.base_url,
        name=spec.name,
        api_key=spec.api_key,
        model=spec.model or None,
        timeout_ms=spec.timeout_ms,
        key_env=spec.key_env,
        **_options(spec),
    )


def _local(spec: ProviderSpec) -> LLMProvider:
    return LocalProvider(name=spec.name, timeout_ms=spec.timeout_ms, **_options(spec))


register_kind("cerebras", _cerebras)
register_kind("groq", _groq)
register_kind("openai", _openai_compatible)
register_kind("local", _local)
