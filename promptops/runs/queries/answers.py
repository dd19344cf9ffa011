"""Reads of recorded runs for "Try it": cards of kept answers, the answer to compare with, and an input to use again."""

from collections.abc import Sequence

from django.db.models import Prefetch

from promptops.prompts.models import Template
from promptops.runs.enums import RunStatus
from promptops.runs.models import Attempt, Run, SafetyCheck

MOST = 20
"""The most answers that a page keeps."""


def kept(numbers: Sequence[int]) -> list[Run]:
    """Return the first `MOST` of these runs in their order, with attempts and verdicts. Deleted runs are left out."""
    attempts = Prefetch("attempts", Attempt.objects.order_by("position"))
    checks = Prefetch("safety_checks", SafetyCheck.objects.defer("words", "window").order_by("side"))
    runs = Run.objects.select_related("template", "version").prefetch_related(attempts, checks)
    by_number = runs.in_bulk(numbers[:MOST])
    return [by_number[number] for number in dict.fromkeys(numbers[:MOST]) if number in by_number]


def first_alike(numbers: Sequence[int], operation: str, text: str) -> Run | None:
    """Return the first of these runs that answered the same input of the operation with a text that pages show."""
    answered = Run.objects.filter(operation=operation, status=RunStatus.SUCCEEDED, erased_at=None)
    by_number = answered.exclude(output_masked=True).filter(input=text).in_bulk(numbers[:MOST])
    return next((by_number[number] for number in numbers if number in by_number), None)


def to_try(number: int, template: Template) -> Run | None:
    """Return a run of the template with an input that pages show; None if there is none."""
    shown = Run.objects.filter(template=template, erased_at=None, input_masked=False)
    return shown.select_related("version").filter(pk=number).first()
