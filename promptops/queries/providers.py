"""Providers as pages show them: their order, where the key comes from, and how each one is doing."""

import os
from dataclasses import dataclass
from datetime import datetime

from django.db.models import OuterRef, Subquery

from promptops import crypto
from promptops.engine.providers import cerebras, groq, local
from promptops.enums import ProviderKind, RunStatus
from promptops.models import Attempt, Provider

# The variable that a vendor's provider reads when the row names none.
DEFAULT_KEY_ENV = {ProviderKind.CEREBRAS: cerebras.KEY_ENV, ProviderKind.GROQ: groq.KEY_ENV}


@dataclass(frozen=True)
class LastCall:
    """The newest call to a provider that was not canceled; `latency_ms` is the attempt's own time."""

    at: datetime
    run_id: int
    succeeded: bool
    reason: str  # why it failed; only the kind of error once the run's text is erased
    latency_ms: float


@dataclass(frozen=True)
class ProviderRow:
    """One provider. `priority` is its place in the chain, None for one that is off.

    `state` says in a word or three how it is doing, `tone` is the chip's (ok, warn, bad or nothing), and `detail` is
    what is wrong, in a sentence; a failed last call tells its reason there.
    """

    id: int
    name: str
    kind: str
    base_url: str
    model_shown: str
    key: str
    timeout_ms: int | None
    enabled: bool
    priority: int | None
    state: str
    tone: str
    detail: str
    last: LastCall | None


def listed() -> list[ProviderRow]:
    """All providers in their order, in two queries."""
    newest = Attempt.objects.filter(provider=OuterRef("name")).exclude(outcome=RunStatus.CANCELED).order_by("-id")
    providers = list(Provider.objects.annotate(newest_call=Subquery(newest.values("id")[:1])))
    calls = _calls([provider.newest_call for provider in providers])
    priorities = {
        provider.pk: place for place, provider in enumerate([row for row in providers if row.enabled], start=1)
    }
    return [_row(provider, priorities.get(provider.pk), calls.get(provider.newest_call)) for provider in providers]


def chain() -> list[ProviderRow]:
    """The providers that are on, in their order."""
    return [row for row in listed() if row.enabled]


def key_env(provider: Provider) -> str:
    """The environment variable that this provider's key is read from; "" where it is stored or there is none."""
    return "" if provider.key_encrypted else provider.key_env or DEFAULT_KEY_ENV.get(provider.kind, "")


def key_sentence(provider: Provider) -> str:
    """Where the key comes from, and whether it is there, in words that hold no secret."""
    if provider.key_encrypted:
        return "stored key"
    variable = key_env(provider)
    return f"from {variable}, {set_or_not(variable)}" if variable else "no key"


def set_or_not(variable: str) -> str:
    """Whether the server's environment has a value for the variable, in words."""
    return "set in the server's environment" if _is_set(variable) else "not set in the server's environment"


def _is_set(variable: str) -> bool:
    return bool(os.environ.get(variable, "").strip())


def _calls(ids: list[int | None]) -> dict[int | None, LastCall]:
    attempts = Attempt.objects.filter(pk__in=[pk for pk in ids if pk]).select_related("run")
    return {
        attempt.pk: LastCall(
            at=attempt.run.at,
            run_id=attempt.run_id,
            succeeded=attempt.outcome == RunStatus.SUCCEEDED,
            reason=attempt.message or attempt.error_kind.replace("_", " "),
            latency_ms=attempt.latency_ms,
        )
        for attempt in attempts.only("outcome", "message", "error_kind", "latency_ms", "run__at")
    }


def _row(provider: Provider, priority: int | None, last: LastCall | None) -> ProviderRow:
    state, tone, detail = _state(provider, last)
    return ProviderRow(
        id=provider.pk,
        name=provider.name,
        kind=provider.get_kind_display(),
        base_url=provider.base_url,
        model_shown=provider.model or (local.MODEL if provider.kind == ProviderKind.LOCAL else "the prompt's own"),
        key="no key needed" if provider.kind == ProviderKind.LOCAL else key_sentence(provider),
        timeout_ms=provider.timeout_ms,
        enabled=provider.enabled,
        priority=priority,
        state=state,
        tone=tone,
        detail=detail,
        last=last,
    )


def _state(provider: Provider, last: LastCall | None) -> tuple[str, str, str]:
    """State, tone and detail: the first thing that is wrong, or that it is ready."""
    if not provider.enabled:
        return "off", "", ""
    if problem := _problem(provider):
        return problem[0], "bad", problem[1]
    if last and not last.succeeded:
        return "last call failed", "warn", last.reason
    return "ready", "ok", ""


def _problem(provider: Provider) -> tuple[str, str] | None:
    """What keeps every call from succeeding, as far as that can be known without one."""
    if provider.kind == ProviderKind.LOCAL:
        reason = local.local_available()
        return ("not installed", reason) if reason else None
    if provider.key_encrypted:
        try:
            crypto.decrypt(provider.key_encrypted)
        except crypto.UnreadableSecret as error:
            return "key unreadable", str(error)
        return None
    variable = key_env(provider)
    if variable and not _is_set(variable):
        return "no key", f"{variable} is not set in the server's environment."
    return None
