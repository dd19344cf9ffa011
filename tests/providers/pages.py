"""Helpers of the tests of the Providers pages. Fixtures are in conftest.py."""

import re

from promptops.engine.errors import (
    LLMProviderError,
    LLMRateLimitedError,
)
from promptops.engine.health import HealthRegistry
from promptops.ledger.models import LiveConfiguration
from promptops.providers.models import Provider
from promptops.runs.models import Attempt, Run
from promptops.runs.queries import providers as queries

KEY = "gsk_very-secret-4711"


NEW = {
    "kind": "groq",
    "name": "groq",
    "model": "m",
    "base_url": "",
    "timeout_s": "",
    "key_source": "stored",
    "key": KEY,
}


def call(provider: str, outcome: str, message: str = "", error_kind: str = "") -> Run:
    run = Run.objects.create(
        source="preview", operation="enhance", temperature=1, max_tokens=1, revision=1, status=outcome, latency_ms=900
    )
    Attempt.objects.create(
        run=run, position=1, provider=provider, outcome=outcome, message=message, error_kind=error_kind,
        started_ms=0, latency_ms=812,
    )  # fmt: skip
    return run


def text_of(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def revision() -> int:
    return LiveConfiguration.objects.get().revision


def state_of(name: str) -> tuple[str, str, str]:
    row = next(row for row in queries.listed() if row.name == name)
    return row.state, row.tone, row.detail


def fields_of(provider: Provider, **changes: str) -> dict:
    fields = {"kind": provider.kind, "name": provider.name, "model": provider.model, "base_url": provider.base_url}
    boxes = ("fall_back_on_auth", "fall_back_on_not_found", "fall_back_on_refused")
    fields |= {name: "on" for name in boxes if getattr(provider, name)} | {"adaptations": provider.adaptations}
    return (
        fields | {"timeout_s": (provider.timeout_ms or 0) / 1000 or "", "expected": provider.changed_revision} | changes
    )


class Chosen:
    """A provider without choices of an operator."""

    fall_back_on: frozenset[str] = frozenset()


def fail(health: HealthRegistry, error: LLMProviderError, times: int = 1, name: str = "groq") -> None:
    for _ in range(times):
        health.failed(health.admit(name), error, Chosen())


def limited(seconds: float) -> LLMRateLimitedError:
    error = LLMRateLimitedError("answered 429: slow down")
    error.retry_after_s = seconds
    return error
