"""Runs as pages show them."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef, Prefetch, QuerySet
from django.db.models.functions import Left

from promptops.models import Attempt, LiveConfiguration, Provider, Run, Template, User

# The list shows the beginning of an input; whole texts would make a page of many megabytes.
EXCERPT_CHARACTERS = 101


@dataclass(frozen=True)
class RunFilters:
    """What the list is narrowed to; None and "" are no limit. `provider` is one that the run asked, answered or not."""

    operation: str = ""
    status: str = ""
    source: str = ""
    template: Template | None = None
    user: User | None = None
    provider: str = ""
    start: datetime | None = None
    end: datetime | None = None  # exclusive


def listed(filters: RunFilters) -> QuerySet[Run]:
    """The runs that match, each with `excerpt`, the beginning of its input."""
    runs = Run.objects.select_related("user", "template", "version").annotate(excerpt=Left("input", EXCERPT_CHARACTERS))
    runs = runs.defer("input", "output", "draft_body", "error", "version__body")
    exact = {name: getattr(filters, name) for name in ("operation", "status", "source", "template", "user")}
    runs = runs.filter(**{name: value for name, value in exact.items() if value})
    if filters.provider:
        runs = runs.filter(Exists(Attempt.objects.filter(run=OuterRef("pk"), provider=filters.provider)))
    if filters.start:
        runs = runs.filter(at__gte=filters.start)
    if filters.end:
        runs = runs.filter(at__lt=filters.end)
    return runs


def found(pk: int) -> Run:
    """One run with its attempts, or Run.DoesNotExist."""
    attempts = Prefetch("attempts", Attempt.objects.order_by("position"))
    return Run.objects.select_related("user", "template", "version").prefetch_related(attempts).get(pk=pk)


def provider_names() -> list[str]:
    """The names of today's providers, in the order of the chain."""
    return list(Provider.objects.values_list("name", flat=True))


def retention_days() -> int:
    """How many days the text of a run is kept."""
    return LiveConfiguration.objects.values_list("run_retention_days", flat=True).get(pk=1)
