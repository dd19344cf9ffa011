"""The conditions that are alerts while they hold. Each reads stored figures, so every process sees the same.

No message quotes a provider's answer or a text of a run: an answer may repeat what a viewer typed.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Sum
from django.urls import reverse

from promptops.alerts.models import AlertRules
from promptops.engine.policies import POLICIES
from promptops.fleet.enums import Standing
from promptops.fleet.queries.servers import Picture, picture
from promptops.live import snapshots as live
from promptops.providers.models import Provider
from promptops.runs.enums import RunSource, RunStatus, SafetyMode
from promptops.runs.models import Attempt, ReportedRuns, Run, SafetyCheck
from promptops.runs.queries.provider_calls import counted_attempts

CALLS_DOWN = 3
"""So many failed calls after each other mean that a provider is down."""
BEGINS_WITHIN = timedelta(hours=1)
HOLDS_WITHIN = timedelta(hours=24)
"""An older call says nothing about a provider: it begins no condition, and ends one."""
UNJUDGED_WITHIN = timedelta(minutes=10)
LEAST_UNJUDGED = 3
MOST_UNJUDGED = 1_000
MOST_RUNS = 5_000
"""Runs that the error rate reads, the newest ones."""
NAMED = 5
LISTED = 20
"""Servers in the sentence and in the facts of a message."""

OUT_OF_CREDIT = "quota"
DOWN = frozenset(kind for kind, policy in POLICIES.items() if policy.breaker or policy.misconfigured) - {OUT_OF_CREDIT}
"""The kinds of errors that mean a provider is down. A refused text or a full rate limit does not."""


@dataclass(frozen=True)
class Finding:
    """A condition that holds now. `key` names its object; `count` says how many things it is about."""

    key: str
    title: str
    page: str
    facts: dict[str, Any] = field(default_factory=dict)
    count: int = 1


def providers_down(now: datetime, open_keys: frozenset[str]) -> list[Finding]:
    """Find providers that are on and whose last calls all failed, in one query and one for each provider."""
    findings = []
    for name, calls in _newest_calls(now, open_keys):
        if len(calls) == CALLS_DOWN and all(call.error_kind in DOWN for call in calls):
            error = calls[0].error_kind.replace("_", " ")
            title = f"{name} is down: its last {CALLS_DOWN} calls failed ({error})."
            findings.append(Finding(name, title, reverse("providers"), {"provider": name, "error": error}))
    return findings


def providers_out_of_credit(now: datetime, open_keys: frozenset[str]) -> list[Finding]:
    """Find providers that are on and whose newest call ended for want of credit."""
    return [
        Finding(name, f"{name} is out of credit.", reverse("providers"), {"provider": name})
        for name, calls in _newest_calls(now, open_keys)
        if calls and calls[0].error_kind == OUT_OF_CREDIT
    ]


def _newest_calls(now: datetime, open_keys: frozenset[str]) -> list[tuple[str, list[Attempt]]]:
    """Return the newest calls of each provider that is on, newest first; none if they are too old to say anything."""
    newest = []
    for name in Provider.objects.filter(enabled=True).values_list("name", flat=True):
        attempts = counted_attempts().filter(provider=name).exclude(outcome=RunStatus.CANCELED)
        attempts = attempts.select_related("run").only("error_kind", "outcome", "run__at")
        calls = list(attempts.order_by("-run_id", "-position")[:CALLS_DOWN])
        age = HOLDS_WITHIN if name in open_keys else BEGINS_WITHIN
        newest.append((name, calls if calls and now - calls[0].run.at <= age else []))
    return newest


def operations_failing(now: datetime, open_keys: frozenset[str]) -> list[Finding]:
    """Find the operations of which too many runs got no answer: of runs made here, and of those that servers report."""
    rules = rules_now()
    window = timedelta(minutes=rules.error_minutes)
    # Reports have whole hours, so their window begins with one.
    hour = (now - window).replace(minute=0, second=0, microsecond=0)
    own = _failing(_own_counts(now - window), rules, "", f"in the last {_minutes(rules.error_minutes)}")
    return own + _failing(_reported_counts(hour), rules, "servers:", f"on servers since {hour:%H:%M} UTC")


def _own_counts(since: datetime) -> "dict[str, Counter[str]]":
    """Count the newest runs by operation and status. Tests, comparisons and drills do not count."""
    runs = Run.objects.filter(at__gte=since, drill="").exclude(source__in=[RunSource.TEST, RunSource.COMPARISON])
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for operation, status in runs.order_by("-at").values_list("operation", "status")[:MOST_RUNS]:
        counts[operation][status] += 1
    return counts


def _reported_counts(hour: datetime) -> "dict[str, Counter[str]]":
    """Count the runs that servers made themselves, by operation and status."""
    rows = ReportedRuns.objects.filter(hour__gte=hour).exclude(status="").order_by()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for operation, status, runs in rows.values_list("operation", "status").annotate(Sum("runs")):
        counts[operation][status] += runs
    return counts


def _failing(counts: "dict[str, Counter[str]]", rules: AlertRules, prefix: str, when: str) -> list[Finding]:
    findings = []
    for operation, statuses in sorted(counts.items()):
        failed = statuses[RunStatus.FAILED] + statuses[RunStatus.UNCHANGED]
        total = failed + statuses[RunStatus.SUCCEEDED]
        if total >= rules.error_runs and 100 * failed >= rules.error_percent * total:
            share = f"{100 * failed / total:.0f}%"
            title = f"{share} of the runs of {operation} got no answer {when} ({failed:,} of {total:,})."
            facts = {"operation": operation, "failed": failed, "runs": total, "on_servers": bool(prefix)}
            page = reverse("fleet") if prefix else f"{reverse('runs')}?operation={operation}"
            findings.append(Finding(f"{prefix}{operation}", title, page, facts))
    return findings


def rules_now() -> AlertRules:
    """Return the rules that people set, or the defaults."""
    return AlertRules.objects.filter(pk=1).first() or AlertRules(pk=1)


def safety_failing(now: datetime, open_keys: frozenset[str]) -> list[Finding]:
    """Find out whether the safety filter fails: by its self-test here, or by texts that were not judged."""
    spec = live.current().safety
    if spec.mode == SafetyMode.OFF:
        return []
    problems = spec.guard.self_test()
    unjudged = _unjudged(now)
    if not problems and unjudged < LEAST_UNJUDGED:
        return []
    reasons = [f"{problem.removesuffix('.')}." for problem in problems]
    if unjudged >= LEAST_UNJUDGED:
        reasons.append(f"It did not judge {unjudged:,} texts in the last {_minutes(UNJUDGED_WITHIN.seconds // 60)}.")
    facts = {"mode": spec.mode, "not_judged": unjudged, "problems": problems}
    return [Finding("", f"The safety filter is failing. {' '.join(reasons)}", reverse("safety"), facts)]


def _unjudged(now: datetime) -> int:
    """Count the texts that were not judged for another reason than their language or length."""
    checks = SafetyCheck.objects.filter(at__gte=now - UNJUDGED_WITHIN, decision="unavailable")
    return checks.exclude(cause="language").order_by("-at")[:MOST_UNJUDGED].count()


def servers_silent(now: datetime, open_keys: frozenset[str]) -> list[Finding]:
    """Find silent servers. PromptOps' own processes come and go, so they do not count."""
    shown = picture()
    names = [row.server.name for row in shown.servers if row.standing == Standing.SILENT]
    return _of_servers(names, "is silent", "are silent", "silent", shown)


def servers_refusing(now: datetime, open_keys: frozenset[str]) -> list[Finding]:
    """Find servers and processes that refuse what is live."""
    return _in_trouble(Standing.REFUSED, "refuses", "refuse")


def servers_drifting(now: datetime, open_keys: frozenset[str]) -> list[Finding]:
    """Find servers and processes that run other content than their revision has."""
    return _in_trouble(Standing.DRIFTED, "has drifted from", "have drifted from")


def _in_trouble(standing: Standing, one: str, several: str) -> list[Finding]:
    shown = picture()
    names = [row.server.name for row in shown.rows if row.standing == standing]
    revision = f"r{shown.live.revision}"
    return _of_servers(names, f"{one} {revision}", f"{several} {revision}", standing.value, shown)


def _of_servers(names: list[str], one: str, several: str, state: str, shown: Picture) -> list[Finding]:
    """Return one finding for all servers of a kind of trouble, however many there are."""
    if not names:
        return []
    if len(names) == 1:
        title = f"{names[0]} {one}."
    else:
        more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        title = f"{len(names):,} servers {several}: {', '.join(names[:NAMED])}{more}."
    facts = {"servers": names[:LISTED], "count": len(names), "revision": shown.live.revision}
    return [Finding("", title, f"{reverse('fleet')}?state={state}", facts, count=len(names))]


def _minutes(number: int) -> str:
    return f"{number:,} minute{'' if number == 1 else 's'}"
