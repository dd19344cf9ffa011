"""Make comparisons with answers, without calling providers."""

from collections.abc import Callable

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from promptops.compare.actions.comparisons import ArmChoice
from promptops.compare.models import Comparison, Trial
from promptops.ledger.audit import Actor
from promptops.prompts.content import Content
from promptops.providers.models import Provider
from promptops.runs.models import Run
from tests.factories import build_run, get_or_make_template, make_provider, start_comparison


@transaction.atomic
def compare(by: Actor, *, arms: int = 2, inputs: int = 2, repeats: int = 1, state: str = "running") -> Comparison:
    """Start a comparison of drafts of one template on the provider "p1" that differ in their temperature.

    If a server runs beside the test, it runs the trials of a `running` comparison.
    """
    template = get_or_make_template("compared", "enhance", by=by)
    provider = Provider.objects.filter(name="p1").first() or make_provider("p1", model="m1", by=by)
    comparison = start_comparison(
        [ArmChoice(template, None, Content("Polish it.", arm / 10), provider) for arm in range(arms)],
        [f"a fox, take {number}" for number in range(inputs)],
        by=by,
        name="Warm or cold",
        repeats=repeats,
    )
    Comparison.objects.filter(pk=comparison.pk).update(state=state)
    return comparison


def words(trial: Trial) -> str:
    """Return an answer that no other trial has."""
    return f"answer {trial.arm.letter}{trial.input.position}.{trial.repeat}"


def answer(comparison: Comparison, text: Callable[[Trial], str | None] = words) -> None:
    """End the waiting trials with the answer that `text` returns, or as failed if it returns None."""
    trials = list(comparison.trials.filter(run=None).order_by("pk").select_related("arm", "input"))
    for trial in trials:
        output = text(trial)
        run = build_run(
            source="comparison",
            input=trial.input.text,
            output=output or "",
            status="failed" if output is None else "succeeded",
            error="p1 answered 503" if output is None else "",
        )
        trial.run, trial.state, trial.finished_at = run, run.status, timezone.now()
        trial.answer_hash = run.answer_hash
    Run.objects.bulk_create([trial.run for trial in trials])
    Trial.objects.bulk_update(trials, ["run", "state", "finished_at", "answer_hash"])


def change_runs(runs: QuerySet[Run], **change: object) -> None:
    """Change these runs and the hashes of their trials, as if they had ended like this."""
    ids = list(runs.values_list("pk", flat=True))
    Run.objects.filter(pk__in=ids).update(**change)
    for run in Run.objects.filter(pk__in=ids):
        Trial.objects.filter(run=run).update(answer_hash=run.answer_hash)
