"""The kinds of provider. Everything that depends on a kind is derived from here.

Choices, form fields, labels, placeholders, key variables and their hosts come from `KindSpec`; no other code compares
names of kinds. The requests and answers of a kind belong to its class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from promptops.engine.auth import BEARER, AuthHeader
from promptops.engine.providers import cerebras, groq, local
from promptops.engine.providers.cerebras import CerebrasProvider
from promptops.engine.providers.groq import GroqProvider
from promptops.engine.providers.local import LocalProvider
from promptops.engine.providers.openai_compatible import OpenAICompatibleProvider
from promptops.engine.snapshot import ProviderSpec
from promptops.engine.types import JsonMode, LLMProvider, ProviderOptions

Factory: TypeAlias = Callable[[ProviderSpec], LLMProvider]
Need: TypeAlias = Literal["required", "optional"]

LOCAL = "local"
MAX_NAME_CHARACTERS = 20


@dataclass(frozen=True)
class KindSpec:
    """One kind of provider.

    `provider` is a class with the fields of `OpenAICompatibleProvider`. A kind of another shape has a `factory`.
    `base_url` is the default address. Without it, an operator has to enter one if the `address` is required. `key_env`
    is the vendor's own variable, whose key goes to the host of `base_url` only. `auth` is the request header that
    carries the key. `example_model` is the placeholder of the model field. `json_mode` is what its servers are asked
    for beside a JSON contract, unless a provider has a mode of its own.

    An `embedded` model runs inside this installation. It has no address, no key, no price, and one model, `model`.
    `problem` returns a sentence that says why the kind cannot run here, or `None`. `notice` is shown to a person who
    adds a provider of this kind.
    """

    name: str
    label: str
    provider: Callable[..., LLMProvider] | None = None
    factory: Factory | None = None
    base_url: str = ""
    address: Need = "required"
    key: Need = "required"
    key_env: str = ""
    auth: AuthHeader = BEARER
    example_model: str = ""
    embedded: bool = False
    model: str = ""
    problem: Callable[[], str | None] | None = None
    notice: str = ""
    json_mode: JsonMode = "object"

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > MAX_NAME_CHARACTERS:
            raise ValueError(f"The name of a kind has 1 to {MAX_NAME_CHARACTERS} characters, not {self.name!r}")
        if (self.provider is None) == (self.factory is None):
            raise ValueError(f"The kind {self.name!r} needs a provider class or a factory, and not both")

    @property
    def needs_address(self) -> bool:
        """Return whether an operator has to enter the address."""
        return self.address == "required" and not self.base_url and not self.embedded

    @property
    def host(self) -> str:
        """Return the host of the default address, or "" without one."""
        return urlsplit(self.base_url).hostname or ""

    def build(self, spec: ProviderSpec) -> LLMProvider:
        """Return the provider that `spec` describes."""
        if self.provider is None:
            assert self.factory is not None  # see __post_init__
            return self.factory(spec)
        return self.provider(
            api_key=spec.api_key,
            base_url=spec.base_url or self.base_url,
            name=spec.name,
            model=spec.model or None,
            timeout_ms=spec.timeout_ms,
            key_env=spec.key_env or self.key_env or None,
            auth=self.auth,
            **_options(spec, self.json_mode),
        )


_kinds: dict[str, KindSpec] = {}

KINDS: Mapping[str, KindSpec] = MappingProxyType(_kinds)
"""The registered kinds by name, in the order of the form."""


def register_kind(kind: KindSpec | str, factory: Factory | None = None) -> None:
    """Add a kind. A name with a factory is a kind whose address and key are optional.

    Raises `ValueError` for a name that is taken.
    """
    if isinstance(kind, str):
        kind = KindSpec(kind, kind, factory=factory, address="optional", key="optional")
    if kind.name in _kinds:
        raise ValueError(f"The provider kind {kind.name!r} is already registered")
    _kinds[kind.name] = kind


def kind_spec(name: str) -> KindSpec:
    """Return the kind of that name. A provider of an unknown kind can be shown and edited, but not built."""
    return _kinds.get(name) or _unknown(name)


def build_provider(spec: ProviderSpec) -> LLMProvider:
    """Return the provider that `spec` describes. Raises `ValueError` for an unknown kind."""
    return kind_spec(spec.kind).build(spec)


def _unknown(name: str) -> KindSpec:
    def refuse(spec: ProviderSpec) -> LLMProvider:
        raise ValueError(f"Unknown provider kind {spec.kind!r}; known are {', '.join(_kinds)}")

    problem = f"This installation has no provider kind {name}. Install it, or give the provider another kind."
    return KindSpec(
        name or "unknown", name, factory=refuse, address="optional", key="optional", problem=lambda: problem
    )


def _options(spec: ProviderSpec, json_mode: JsonMode) -> dict[str, Any]:
    options = {option.name: getattr(spec, option.name) for option in fields(ProviderOptions)}
    return options | {"json_mode": spec.json_mode or json_mode}


def _local(spec: ProviderSpec) -> LLMProvider:
    return LocalProvider(name=spec.name, timeout_ms=spec.timeout_ms, **_options(spec, kind_spec(LOCAL).json_mode))


register_kind(
    KindSpec(
        name="cerebras",
        label="Cerebras",
        provider=CerebrasProvider,
        base_url=cerebras.BASE_URL,
        key_env=cerebras.KEY_ENV,
        example_model="gpt-oss-120b",
    )
)
register_kind(
    KindSpec(
        name="groq",
        label="Groq",
        provider=GroqProvider,
        base_url=groq.BASE_URL,
        key_env=groq.KEY_ENV,
        example_model="openai/gpt-oss-120b",
    )
)
register_kind(
    KindSpec(
        name="openai",
        label="OpenAI-compatible",
        provider=OpenAICompatibleProvider,
        key="optional",
        example_model="llama-3.3-70b",
    )
)
register_kind(
    KindSpec(
        name=LOCAL,
        label="Local (embedded model)",
        factory=_local,
        embedded=True,
        model=local.MODEL,
        json_mode="schema",  # llama.cpp lets the model write only what fits
        problem=lambda: local.local_available(),  # looked up at the call, so that a test can replace it
        notice=(
            "A small model on this server's CPU. It needs no key and no account. Its answers are simple; use it to try"
            " PromptOps."
        ),
    )
)
