"""Adding runs that are about to be deleted to the hourly totals. Figures read them in `runs.queries`."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import Count, Sum

from promptops.runs.enums import ContractOutcome
from promptops.runs.models import Attempt, Run, RunTotals
from promptops.stats.buckets import bucket

ALIKE = ("operation", "template_id", "version_id", "revision", "source", "status", "provider")
MASKS = ("input_masked", "output_masked", "raw_masked")
SUMS = (
    "runs",
    "fallbacks",
    "truncated",
    "masked",
    "attempts",
    "input_tokens",
    "output_tokens",
    "cost_estimated",
    *ContractOutcome.values,
)


def add(ids: Sequence[int]) -> None:
    """Add runs to the totals of their hours. The caller deletes them in the same transaction, and does so alone."""
    calls = _calls(ids)
    added: dict[tuple[Any, ...], RunTotals] = {}
    for run in Run.objects.filter(pk__in=ids).values(
        "pk",
        "at",
        *ALIKE,
        "fallback_used",
        "truncated",
        *MASKS,
        "cost",
        "cost_estimated",
        "drill",
        "latency_ms",
        "contract",
    ):
        hour = run["at"].replace(minute=0, second=0, microsecond=0)
        alike = {"hour": hour, **{name: run[name] for name in ALIKE}, "is_drill": bool(run["drill"])}
        _count(added.setdefault(tuple(alike.values()), RunTotals(**alike)), run, calls[run["pk"]])
    stored = _stored(total.hour for total in added.values())
    new = []
    for key, total in added.items():
        if (old := stored.get(key)) is None:
            new.append(total)
        else:
            _merge(old, total)
            old.save()
    RunTotals.objects.bulk_create(new)


def _calls(ids: Sequence[int]) -> dict[int, tuple[int, int, int]]:
    """Return the number of attempts of each run, with their input and output tokens."""
    calls = Attempt.objects.filter(run__in=ids).order_by().values_list("run")
    summed = calls.annotate(Count("id"), Sum("input_tokens"), Sum("output_tokens"))
    by_run = {run: (count, inputs or 0, outputs or 0) for run, count, inputs, outputs in summed}
    return defaultdict(lambda: (0, 0, 0), by_run)


def _count(total: RunTotals, run: dict[str, Any], calls: tuple[int, int, int]) -> None:
    attempts, input_tokens, output_tokens = calls
    total.runs += 1
    total.fallbacks += run["fallback_used"]
    total.truncated += run["truncated"]
    total.masked += any(run[name] for name in MASKS)
    total.attempts += attempts
    total.input_tokens += input_tokens
    total.output_tokens += output_tokens
    if outcome := run["contract"]:
        setattr(total, outcome, getattr(total, outcome) + 1)
    if run["cost"] is not None:
        total.cost = (total.cost or 0.0) + run["cost"]
        total.cost_estimated += run["cost_estimated"]
    place = str(bucket(run["latency_ms"]))  # keys of JSON are strings
    total.latencies[place] = total.latencies.get(place, 0) + 1


def _merge(old: RunTotals, total: RunTotals) -> None:
    for name in SUMS:
        setattr(old, name, getattr(old, name) + getattr(total, name))
    if total.cost is not None:
        old.cost = (old.cost or 0.0) + total.cost
    for place, count in total.latencies.items():
        old.latencies[place] = old.latencies.get(place, 0) + count


def _stored(hours: Iterable[Any]) -> dict[tuple[Any, ...], RunTotals]:
    stored = RunTotals.objects.filter(hour__in=set(hours))
    return {(row.hour, *(getattr(row, name) for name in ALIKE), row.is_drill): row for row in stored}
