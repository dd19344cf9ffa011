"""How the runs of a template met the contract of its operation."""

from dataclasses import dataclass

from django.db.models import Count

from promptops.prompts.models import Template
from promptops.runs.enums import ContractOutcome
from promptops.runs.models import Run

NEWEST = 1_000
"""The runs that are counted: the newest of the template, so that the query takes as long with a million runs."""


@dataclass(frozen=True)
class ContractFigures:
    """The outcomes of the checked runs among the newest runs of a template: label, number and share (0 to 1)."""

    checked: int
    rows: list[tuple[str, int, float]]
    newest: int = NEWEST


def contract_figures(template: Template) -> ContractFigures:
    """Return the figures of a template by one query. Drills and provider tests do not count."""
    newest = Run.objects.filter(template=template, drill="").order_by("-id").values("pk")[:NEWEST]
    counted = (
        Run.objects.filter(pk__in=newest)
        .exclude(contract=None)
        .order_by()
        .values_list("contract")
        .annotate(number=Count("pk"))
    )
    numbers: dict[str | None, int] = dict(counted)
    checked = sum(numbers.values())
    rows = [
        (outcome.label, number, number / checked if checked else 0.0)
        for outcome in ContractOutcome
        for number in (numbers.get(outcome.value, 0),)
    ]
    return ContractFigures(checked, rows)
