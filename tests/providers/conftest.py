"""Fixtures of the tests of providers."""

import pytest

from promptops.engine.health import HealthRegistry
from promptops.live import snapshots as live
from promptops.providers.actions import chain as actions
from promptops.providers.actions.chain import ProviderFields
from promptops.providers.models import Provider


@pytest.fixture
def add(actor):
    def make(name: str = "groq", kind: str = "groq", model: str = "m", enabled: bool = True, **key: str) -> Provider:
        base_url = "http://127.0.0.1:9/v1" if kind == "openai" else ""
        fields = ProviderFields(name, kind, "" if kind == "local" else model, base_url)
        return actions.create_provider(fields, by=actor, enabled=enabled, **key)

    return make


@pytest.fixture(autouse=True)
def health(monkeypatch) -> HealthRegistry:
    """Replace the shared health by one of this test, with a clock that a test sets by `health.now`."""
    registry = HealthRegistry(clock=lambda: registry.now)
    registry.now = 1000.0
    monkeypatch.setattr(live, "health", registry)
    return registry
