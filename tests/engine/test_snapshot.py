"""The snapshot, and the providers that are built from its specs."""

from __future__ import annotations

import dataclasses

import pytest

from promptops.engine import (
    KINDS,
    CerebrasProvider,
    GroqProvider,
    LocalProvider,
    OpenAICompatibleProvider,
    Prices,
    PromptOperation,
    ProviderSpec,
    SettingsSpec,
    Snapshot,
    TemplateSpec,
    build_provider,
    register_kind,
)
from promptops.engine.providers import kinds
from tests.engine.helpers import FakeProvider

KEY = "sk-very-secret-4711"


def spec(kind: str, **fields) -> ProviderSpec:
    return ProviderSpec(
        **{"id": 1, "name": "mine", "kind": kind, "base_url": "", "model": "", "timeout_ms": None, **fields}
    )


def template(id_: int, operation: PromptOperation) -> TemplateSpec:
    return TemplateSpec(id_, f"t{id_}", operation, 10 + id_, 1, "body", None, None, None, "abc")


def test_template_for():
    enhance, other = template(1, PromptOperation.ENHANCE), template(2, PromptOperation.ENHANCE)
    snapshot = Snapshot(7, (enhance, other), {PromptOperation.ENHANCE: 2, PromptOperation.REWRITE: 99}, ())
    assert snapshot.template_for(PromptOperation.ENHANCE) is other
    assert snapshot.template_for(PromptOperation.AUTO_EXTEND) is None  # no default
    assert snapshot.template_for(PromptOperation.REWRITE) is None  # a default that is not there
    assert snapshot.settings == SettingsSpec(timeout_ms=20_000, temperature=0.7, max_tokens=256)


def test_a_snapshot_is_frozen_and_shows_no_key():
    snapshot = Snapshot(1, (), {}, (spec("openai", api_key=KEY),))
    assert KEY not in repr(snapshot)
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.revision = 2


FULL = {"base_url": "http://here/v1", "model": "big", "timeout_ms": 5, "api_key": KEY, "key_env": "MY_KEY"}


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("cerebras", {"api_key": KEY}, CerebrasProvider(KEY, name="mine")),
        ("cerebras", FULL, CerebrasProvider(KEY, "http://here/v1", "mine", "big", 5, "MY_KEY")),
        ("groq", {"api_key": KEY}, GroqProvider(KEY, name="mine")),
        ("groq", FULL, GroqProvider(KEY, "http://here/v1", "mine", "big", 5, "MY_KEY")),
        ("openai", {"base_url": "http://here/v1"}, OpenAICompatibleProvider("http://here/v1", "mine")),
        ("openai", FULL, OpenAICompatibleProvider("http://here/v1", "mine", KEY, "big", 5, "MY_KEY")),
        ("local", {"timeout_ms": 5, "model": "ignored"}, LocalProvider("mine", timeout_ms=5)),
    ],
)
def test_build_provider(kind, fields, expected):
    assert build_provider(spec(kind, **fields)) == expected


@pytest.mark.parametrize("kind", ["cerebras", "groq", "openai", "local"])
def test_what_operators_set_reaches_the_provider(kind):
    options = {
        "max_concurrent": 3,
        "prices": Prices(1.0, None, 2.0),
        "fall_back_on": frozenset({"auth"}),
        "context_tokens": 9,
    }
    made = build_provider(spec(kind, **options))
    assert {name: getattr(made, name) for name in options} == options


def test_the_key_comes_from_the_variable_that_the_spec_names(monkeypatch):
    monkeypatch.setenv("MY_KEY", "from-env")
    for kind in ("cerebras", "groq", "openai"):
        assert build_provider(spec(kind, key_env="MY_KEY")).api_key == "from-env"


def test_the_kinds():
    assert list(KINDS) == ["cerebras", "groq", "openai", "local"]
    with pytest.raises(ValueError, match="Unknown provider kind 'nope'; known are cerebras"):
        build_provider(spec("nope"))


def test_a_third_party_registers_a_kind():
    register_kind("theirs", lambda given: FakeProvider(given.name))
    try:
        assert build_provider(spec("theirs")).name == "mine"
        assert "theirs" in KINDS
        with pytest.raises(ValueError, match="already registered"):
            register_kind("theirs", FakeProvider)
    finally:
        del kinds._kinds["theirs"]
