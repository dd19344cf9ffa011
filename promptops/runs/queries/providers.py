"""Providers as pages show them: their order, key source and state.

Their figures are in `provider_figures`; the calls behind both are in `provider_calls`.
"""

import math
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from django.db.models import OuterRef, Subquery
from django.utils import timezone

from promptops.engine.health import FAILURES_TO_OPEN, HealthView
from promptops.live import snapshots as live
from promptops.platform import crypto
from promptops.providers.key_variables import key_variable, problem_of
from promptops.providers.models import Provider
from promptops.providers.queries import is_set
from promptops.runs.enums import RunStatus
from promptops.runs.queries import provider_figures
from promptops.runs.queries.provider_calls import LastCall, counted_attempts, last_calls
from promptops.runs.queries.provider_figures import Figures

MISCONFIGURED = {"auth": "key refused", "missing_key": "no key", "not_found": "model not found"}
OUT_OF_CREDIT = "out of credit"
"""The fault of a provider that was marked misconfigured, by the kind of error."""


@dataclass(frozen=True)
class ProviderRow:
    """One provider. `priority` is its place in the chain, None for one that is off.

    `state` is one to three words, `tone` is that of the chip (ok, warn, bad or ""), and `detail` is a sentence on the
    fault: after a failed last call, its reason.
    """

    id: int
    name: str
    kind: str
    base_url: str
    model_shown: str
    takes_key: bool
    changed_revision: int
    enabled: bool
    priority: int | None
    state: str
    tone: str
    detail: str
    last: LastCall | None
    health: HealthView = field(default_factory=HealthView)
    figures: Figures = field(default_factory=Figures)
    stops_runs: bool = False  # it is misconfigured, and its error ends a run, by the operator's choice
    is_demonstration: bool = False  # the embedded model

    @property
    def icon(self) -> str:
        """Return the name of the icon of its state."""
        if self.state.startswith("cooling"):
            return "timer"
        fallback = "circle-off" if not self.enabled else "circle-question-mark"
        return {"ok": "circle-check", "warn": "triangle-alert", "bad": "circle-alert"}.get(self.tone, fallback)

    @property
    def alone_until(self) -> datetime | None:
        """Return when its cooldown ends, None if it has none."""
        left = self.health.cooldown_left_ms
        return timezone.now() + timedelta(milliseconds=left) if left and self.enabled else None

    @property
    def out_of_credit_since(self) -> datetime | None:
        """Return when it last answered that its account is out of credit, None if that is over."""
        since = self.health.cooldown_since
        return datetime.fromtimestamp(since, UTC) if since and self.out_of_credit else None

    @property
    def out_of_credit(self) -> bool:
        """Return whether its account is out of credit, as far as this process knows."""
        return self.enabled and self.health.out_of_credit

    @property
    def cooling(self) -> str:
        """Return how long it still cools down, if the state shows a worse fault; "" otherwise."""
        left = self.health.cooldown_left_ms
        return f"cooling down {_left(left)}" if left and self.enabled and not self.state.startswith("cooling") else ""

    @property
    def passing(self) -> bool:
        """Return whether its state ends by itself, without an event."""
        health = self.health
        busy = health.limit is not None and health.in_flight >= health.limit
        return self.enabled and (health.state != "closed" or health.cooldown_left_ms > 0 or busy)


def listed() -> list[ProviderRow]:
    """Return all providers in their order, without figures, in two queries."""
    newest = counted_attempts().filter(provider=OuterRef("name")).exclude(outcome=RunStatus.CANCELED)
    newest = newest.order_by("-run_id", "-position")
    providers = list(Provider.objects.annotate(newest_call=Subquery(newest.values("id")[:1])))
    calls = last_calls([provider.newest_call for provider in providers])
    priorities = {
        provider.pk: place for place, provider in enumerate([row for row in providers if row.enabled], start=1)
    }
    return [_row(provider, priorities.get(provider.pk), calls.get(provider.newest_call)) for provider in providers]


def one(provider: Provider) -> ProviderRow:
    """Return the row of one provider."""
    return next(row for row in listed() if row.id == provider.pk)


def with_figures() -> list[ProviderRow]:
    """Return all providers in their order with their figures, in seven queries."""
    rows = listed()
    figures = provider_figures.figures(timezone.now(), max(1, len(rows)))
    return [replace(row, figures=figures.get(row.name, row.figures)) for row in rows]


def chain() -> list[ProviderRow]:
    """Return the providers that are on, in the order of the chain."""
    return [row for row in listed() if row.enabled]


def _row(provider: Provider, priority: int | None, last: LastCall | None) -> ProviderRow:
    health = live.health.view(provider.name)
    state, tone, detail = _state(provider, last, health)
    return ProviderRow(
        id=provider.pk,
        name=provider.name,
        kind=provider.get_kind_display(),
        base_url=provider.base_url,
        model_shown=provider.model or provider.kind_spec.model or "the prompt's own",
        takes_key=not provider.kind_spec.embedded,
        changed_revision=provider.changed_revision,
        enabled=provider.enabled,
        priority=priority,
        state=state,
        tone=tone,
        detail=detail,
        last=last,
        health=health,
        stops_runs=_stops_runs(provider, health.trouble),
        is_demonstration=provider.kind_spec.embedded,
    )


def _stops_runs(provider: Provider, trouble: str | None) -> bool:
    if trouble in {"auth", "missing_key"}:
        return not provider.fall_back_on_auth
    return trouble == "not_found" and not provider.fall_back_on_not_found


def _state(provider: Provider, last: LastCall | None, health: HealthView) -> tuple[str, str, str]:
    """Return state, tone and detail of the first fault, or of readiness."""
    if not provider.enabled:
        return "off", "", ""
    if problem := _problem(provider):
        return problem[0], "bad", problem[1]
    if hindered := _hindered(health, last):
        return hindered
    if last and not last.succeeded:
        return "last call failed", "warn", last.reason
    return ("live", "ok", "") if last else ("unknown", "", "No call yet. Press Test to find out.")


def _hindered(health: HealthView, last: LastCall | None) -> tuple[str, str, str] | None:
    """Return why runs skip the provider now or would fail with it, as far as this process knows."""
    # The reason here is the newest call's error, since no other call starts before the fault is over.
    reason = last.reason if last and last.masked and health.reason else health.reason or ""
    if health.out_of_credit:
        return OUT_OF_CREDIT, "bad", reason
    if health.misconfigured:
        what = MISCONFIGURED.get(health.trouble or "")
        return f"misconfigured: {what}" if what else "misconfigured", "bad", reason
    if health.state == "open":
        return f"open: last {FAILURES_TO_OPEN} calls failed", "bad", reason
    if health.state == "half_open":
        return "probing", "warn", reason
    if health.cooldown_left_ms:
        return (
            f"cooling down {_left(health.cooldown_left_ms)}",
            "warn",
            last.reason if last and not last.succeeded else "",
        )
    if health.limit is not None and health.in_flight >= health.limit:
        return f"full {health.in_flight}/{health.limit}", "warn", "Runs use the next provider until a call ends."
    return None


def _left(milliseconds: int) -> str:
    """Return a time to wait, rounded up: "12 s", "3 min", "2 h"."""
    seconds = math.ceil(milliseconds / 1000)
    if seconds < 100:
        return f"{seconds} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{math.ceil(minutes / 60)} h"


def _problem(provider: Provider) -> tuple[str, str] | None:
    """Return the state and reason if every call is certain to fail, without making one."""
    kind = provider.kind_spec
    if kind.problem and (reason := kind.problem()):
        return "not installed", reason
    if kind.embedded:
        return None
    if provider.key_encrypted:
        try:
            crypto.decrypt(provider.key_encrypted)
        except crypto.UnreadableSecret as error:
            return "key unreadable", str(error)
        return None
    if problem := problem_of(provider):
        return "key not sent", problem
    variable = key_variable(provider)
    if variable and not is_set(variable):
        return "no key", f"{variable} is not set in the server's environment."
    return None
