"""Fills an empty database. The same number always makes the same rows, up to their times, which end now."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from benchmarks.big import bulk, fleet, others, releases, runs, trail

RUNS = 500_000
DAYS, RUN_DAYS, ERASED_AFTER_DAYS = 365, 90, 60
"""Releases and audit entries of the last year, runs of the last quarter, their texts of the last two months."""


@dataclass(frozen=True)
class Sizes:
    """Numbers of rows of each kind. There are two verdicts for each run."""

    runs: int
    templates: int
    versions_each: int
    entries: int
    comparisons: int
    inputs: int
    servers: int

    @classmethod
    def of(cls, number: int) -> "Sizes":
        """Return the sizes for a number of runs; numbers that would become too small shrink by the square root."""
        share = number / RUNS
        return cls(
            runs=number,
            templates=max(6, round(200 * share**0.5)),
            versions_each=max(4, round(50 * share**0.5)),
            entries=max(100, number),
            comparisons=max(2, round(60 * share)),
            inputs=max(4, round(60 * share**0.5)),
            servers=max(4, round(200 * share**0.5)),
        )


def is_filled() -> bool:
    """Return whether this database has been filled."""
    from promptops.people.models import User

    return User.objects.filter(username=others.READER).exists()


def fill(number: int = RUNS) -> dict[str, float]:
    """Fill the database, which is migrated and empty, in one transaction. Returns the seconds of each part."""
    from django.db import transaction

    from promptops.compare.models import Comparison
    from promptops.ledger.models import AuditEntry, Release
    from promptops.prompts.models import Version
    from promptops.runs.models import Attempt, Run, SafetyCheck

    taken: dict[str, float] = {}
    with transaction.atomic():
        _fill(Sizes.of(number), taken)
    _timed(
        taken, "statistics", lambda: bulk.settle(Run, Attempt, SafetyCheck, AuditEntry, Release, Version, Comparison)
    )
    return taken


def _fill(sizes: Sizes, taken: dict[str, float]) -> None:
    from django.utils import timezone

    from promptops.ledger import parts
    from promptops.ledger.models import AuditEntry, AuditHead, LiveConfiguration, Release
    from promptops.prompts.models import Version
    from promptops.runs.models import Attempt, Run, SafetyCheck
    from promptops.safety.models import SafetySettings

    now = timezone.now()
    year, quarter = releases.span(DAYS, now), releases.span(RUN_DAYS, now)
    people, chain = others.people(), others.providers()
    others.variables_and_terms()
    LiveConfiguration.objects.update(run_retention_days=ERASED_AFTER_DAYS)
    templates = others.templates(sizes.templates, now)
    published = releases.Published(configuration=parts.configuration())
    rows = releases.history(published, templates, sizes.versions_each, people, *year)
    _timed(taken, "releases", lambda: bulk.insert(Release, releases.COLUMNS, rows))
    columns = tuple(field.attname for field in Version._meta.concrete_fields)
    values = ([getattr(version, name) for name in columns] for version in published.versions)
    _timed(taken, "versions", lambda: bulk.insert(Version, columns, values))
    bulk.count(Version)
    others.point(templates, published.live)
    releases.applied(published.configuration)
    LiveConfiguration.objects.update(revision=len(published.revised))
    if parts.configuration() != published.configuration:
        raise AssertionError("The newest release does not store what is live.")
    model_id = SafetySettings.objects.get(pk=1).model_id
    world = runs.World(
        templates, published, people, chain, model_id, *quarter, releases.span(ERASED_AFTER_DAYS, now)[0]
    )
    _timed(taken, "runs", lambda: bulk.insert(Run, runs.RUN_COLUMNS, runs.runs(sizes.runs, world)))
    made = runs.attempts(runs.runs(sizes.runs, world), world)
    _timed(taken, "attempts", lambda: bulk.insert(Attempt, runs.ATTEMPT_COLUMNS, made))
    judged = runs.checks(runs.runs(sizes.runs, world), world)
    _timed(taken, "verdicts", lambda: bulk.insert(SafetyCheck, runs.CHECK_COLUMNS, judged))
    bulk.count(Run)
    _timed(taken, "the rest", lambda: _rest(sizes, people, templates, published.versions, chain))
    _timed(taken, "fleet", lambda: _fleet(sizes, people, templates, len(published.revised), now))
    head = AuditHead.objects.get(pk=1)
    entries = trail.entries(sizes.entries, published.entries, people, templates, sizes.runs, year)
    _timed(taken, "audit", lambda: bulk.insert(AuditEntry, trail.COLUMNS, trail.chained(entries, head)))
    head.save()


def _rest(sizes: Sizes, people: list[Any], templates: list[Any], versions: list[Any], chain: list[Any]) -> None:
    others.drafts(people, templates, versions)
    others.prompt_sets(max(3, sizes.inputs // 2), sizes.inputs * 8)
    same = [version for version in versions if version.template_id == templates[0].pk][-3:]
    others.comparisons(sizes.comparisons, sizes.inputs, same, chain, people[-1])


def _fleet(sizes: Sizes, people: list[Any], templates: list[Any], revision: int, now: datetime) -> None:
    fleet.tokens(sizes.servers, people)
    fleet.servers(sizes.servers, revision, now)
    fleet.reported_runs(sizes.servers, templates, now)
    fleet.levers(60, revision, people[-1], now)


def _timed(taken: dict[str, float], what: str, work: Callable[[], object]) -> None:
    began = time.perf_counter()
    work()
    taken[what] = round(time.perf_counter() - began, 1)
    print(f"{what}: {taken[what]} s", file=sys.stderr, flush=True)
