"""Count how the runs of a template met the contract of their answers, in total and by version."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Sum

from promptops.prompts.models import Template
from promptops.runs.enums import ContractOutcome
from promptops.runs.models import CHECKED, Run, RunTotals

SHOWN_VERSIONS = 10


@dataclass(frozen=True)
class ContractRow:
    """The outcomes of some checked runs. `number` is that of their version, None for drafts and for several versions.

    `outcomes` have label, number and share (0 to 1) of each outcome, in the order of `ContractOutcome`.
    """

    label: str
    number: int | None
    checked: int
    outcomes: list[tuple[str, int, float]]


@dataclass(frozen=True)
class ContractFigures:
    """The outcomes of all checked runs of a template: together, and by version, the newest version first."""

    total: ContractRow
    rows: list[ContractRow]

    @property
    def labels(self) -> list[str]:
        """Return the outcomes in words that are short enough for the heads of columns."""
        return [outcome.label.removeprefix("Answered ").capitalize() for outcome in ContractOutcome]


def contract_figures(template: Template) -> ContractFigures:
    """Return the figures of a template by three queries. Deleted runs count, drills and provider tests do not."""
    counts: dict[int | None, Counter[str]] = {}
    living = Run.objects.filter(CHECKED, template=template, drill="").order_by()
    for version, outcome, runs in living.values_list("version_id", "contract").annotate(runs=Count("*")):
        counts.setdefault(version, Counter())[outcome] += runs
    deleted = RunTotals.objects.filter(template=template, is_drill=False).order_by().values("version_id")
    for sums in deleted.annotate(**{name: Sum(name) for name in ContractOutcome.values}):
        outcomes = {name: sums[name] for name in ContractOutcome.values}  # type: ignore[literal-required]
        counts.setdefault(sums["version_id"], Counter()).update(outcomes)
    counts = {version: counted for version, counted in counts.items() if counted.total()}
    numbers = dict(template.versions.filter(pk__in=list(filter(None, counts))).values_list("pk", "number"))
    newest = sorted(numbers, key=lambda version: -numbers[version])
    rows = [_row(f"v{numbers[version]}", [counts[version]], numbers[version]) for version in newest[:SHOWN_VERSIONS]]
    if older := newest[SHOWN_VERSIONS:]:
        rows.append(_row("Older versions", (counts[version] for version in older)))
    if None in counts:
        rows.append(_row("Drafts", [counts[None]]))
    return ContractFigures(_row("All", counts.values()), rows)


def _row(label: str, counted: Iterable[Counter[str]], number: int | None = None) -> ContractRow:
    numbers: Counter[Any] = sum(counted, Counter())
    checked = numbers.total()
    outcomes = [(each.label, numbers[each], numbers[each] / checked if checked else 0.0) for each in ContractOutcome]
    return ContractRow(label, number, checked, outcomes)
