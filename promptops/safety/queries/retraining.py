"""What a training changed: the verdicts of two models on the same past runs.

The scoring is that of a replay (replay.py): in the thread of the request, for a fraction of a second each time. The
figures on held-out texts are in the models' manifests.
"""

from copy import copy
from dataclasses import dataclass

from django.db.models import QuerySet

from promptops.engine.safety.guard import VerdictDecision
from promptops.runs.enums import SafetyReview
from promptops.runs.models import REVIEWED, SafetyCheck
from promptops.safety.models import SafetyModelVersion, SafetySettings
from promptops.safety.queries.past import BUDGET_SECONDS, Thresholds, blocking_category, runs_with_excerpts
from promptops.safety.queries.replay import ROWS_SHOWN, Case, Past, Row, past_of, read_judged, recent

REVIEWS = 500
"""The newest reviewed verdicts that are compared, beside the recent runs."""

_Text = tuple[int, str]  # the run and the side


@dataclass(frozen=True)
class Reviewed:
    """The texts that people reviewed: how many each of the two models judges as people did."""

    texts: int
    before: int
    after: int


@dataclass(frozen=True)
class Retraining:
    """The runs whose verdict differs between two models.

    Only the newer one blocks the `new` runs, and only the older one the `gone` runs. A run counts if both models judged
    its text. `waiting` texts of `rescored` are still to be scored.
    """

    older: SafetyModelVersion
    newer: SafetyModelVersion
    runs: int
    new: int
    gone: int
    reviewed: Reviewed
    rows: list[Row]
    texts_changed: int
    rescored: int
    waiting: int

    @property
    def scored(self) -> int:
        return self.rescored - self.waiting

    @property
    def unshown(self) -> int:
        return self.texts_changed - len(self.rows)


def retraining(
    config: SafetySettings, older: SafetyModelVersion, newer: SafetyModelVersion, budget: float = BUDGET_SECONDS
) -> Retraining:
    """Judge the recent and the reviewed runs by both models, each with its thresholds and the operators' own.

    At most eight queries, for at most `budget` seconds.
    """
    reviewed = _reviews()
    verdicts = {verdict.pk: verdict for verdict in (*recent(), *read_judged(_reviewed(), REVIEWS))}.values()
    before, after = (past_of(_with(config, model), verdicts, budget / 2) for model in (older, newer))
    now, then = (_thresholds(config, model) for model in (older, newer))
    old, new = _blocked(before, now), _blocked(after, then)
    both = [text for text in new if text in old]  # in the order of the verdicts: the newest first
    changed = [text for text in both if bool(old[text]) != bool(new[text])]
    was, will = ({run for run, side in both if blocked[run, side]} for blocked in (old, new))
    judged = [text for text in both if text in reviewed]
    agreeing = (sum(bool(blocked[text]) == reviewed[text] for text in judged) for blocked in (old, new))
    return Retraining(
        older,
        newer,
        runs=len({run for run, _ in both}),
        new=len(will - was),
        gone=len(was - will),
        reviewed=Reviewed(len(judged), *agreeing),
        rows=_rows(changed, old, new, after.cases, then, reviewed),
        texts_changed=len(changed),
        rescored=before.rescored + after.rescored,
        waiting=before.waiting + after.waiting,
    )


def _with(config: SafetySettings, model: SafetyModelVersion) -> SafetySettings:
    """Return the settings with another model; they are not saved."""
    settings = copy(config)
    settings.model = model
    return settings


def _thresholds(config: SafetySettings, model: SafetyModelVersion) -> Thresholds:
    return {**model.manifest.get("thresholds", {}), **config.thresholds}


def _blocked(past: Past, thresholds: Thresholds) -> dict[_Text, str]:
    """Return the category that blocks each judged text, "" for one that passes."""
    return {(case.run_id, case.side): blocking_category(case.scores, thresholds) for case in past.cases}


def _reviewed() -> QuerySet[SafetyCheck]:
    return SafetyCheck.objects.filter(REVIEWED).exclude(review=SafetyReview.DISPUTED)


def _reviews() -> dict[_Text, bool]:
    """Return by text whether people read it as harmful, of the newest reviewed ones. One query."""
    rows = _reviewed().filter(run__erased_at=None).order_by("-id").values_list("run_id", "side", "decision", "review")
    return {
        (run, side): (decision == VerdictDecision.BLOCK) == (review == SafetyReview.RIGHT)
        for run, side, decision, review in rows[:REVIEWS]
    }


def _rows(
    changed: list[_Text],
    old: dict[_Text, str],
    new: dict[_Text, str],
    cases: list[Case],
    thresholds: Thresholds,
    reviewed: dict[_Text, bool],
) -> list[Row]:
    """Return the texts whose verdict changes, the reviewed ones first."""
    chosen = sorted(changed, key=lambda text: (text not in reviewed, -text[0]))[:ROWS_SHOWN]
    scores = {(case.run_id, case.side): case.scores for case in cases}
    runs = runs_with_excerpts([run for run, _ in chosen])
    rows = []
    for text in chosen:
        category = new[text] or old[text]
        if run := runs.get(text[0]):
            score, threshold = scores[text].get(category, 0.0), thresholds.get(category, 1.0)
            rows.append(Row(run, text[1], "new" if new[text] else "gone", category, score, threshold))
    return rows
