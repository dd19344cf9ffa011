"""Replaying the second stage: the effect that other settings of it would have had on past texts.

The scores of both stages come from the verdicts that runs store, so no text is read or encoded. The verdicts of both
stages together follow from `engine.safety.second_stage`, as those of runs do. Replays of the first stage belong to
replay.py.
"""

from dataclasses import dataclass, field
from operator import itemgetter

from promptops.engine.safety import second_stage
from promptops.engine.safety.classifier import worst_of
from promptops.engine.safety.guard import SafetyCategory, SafetyLayer, SafetyVerdict, UnjudgedCause, VerdictDecision
from promptops.engine.safety.second_stage import Head, SecondVerdict, is_asked, together
from promptops.engine.snapshot import SafetySpec
from promptops.safety.queries.past import Text, runs_with_excerpts
from promptops.safety.queries.replay import Judged, recent

ROWS_SHOWN = 50
BOTH = (SafetyLayer.MODEL, SafetyLayer.SENTENCES, "")
"""The layers of texts that a second stage may judge, "" if one of the stages was unavailable."""


@dataclass(frozen=True)
class Row(Text):
    """A text whose verdict would change. `first` and `second` are shares of thresholds, `second` of the proposed one.

    `first` is None for a text that the first stage could not judge.
    """

    is_blocked: bool
    first: float | None
    second: float


@dataclass
class SecondReplay:
    """The past texts that the proposed settings block and the present ones let pass (`blocked`), or the reverse.

    `unscored` texts have no score of the second stage, which one of the settings asks for. `of_others` were judged by
    another model of the first stage. The effect on both is unknown.
    """

    texts: int = 0
    blocked: int = 0
    passed: int = 0
    unscored: int = 0
    of_others: int = 0
    rows: list[Row] = field(default_factory=list)

    @property
    def unshown(self) -> int:
        return self.blocked + self.passed - len(self.rows)


def replay(now: SafetySpec, proposed: SafetySpec) -> SecondReplay:
    """Judge the past texts with both settings of the second stage. At most two queries.

    Raises ValueError if the file of the second stage cannot be read.
    """
    head, result = second_stage.shipped_head(), SecondReplay()
    changed: list[tuple[Judged, bool]] = []
    for text in recent():
        result.texts += 1
        first = _first(text, now)
        if first is None or second_stage.ENFORCE not in (now.second_mode, proposed.second_mode):
            continue
        if text.scores and text.model_id != now.model_id:
            result.of_others += 1
            continue
        before, after = (_verdict(text, first, spec, _recorded(text, now, head), head) for spec in (now, proposed))
        if before is None or after is None:
            result.unscored += 1
        elif now.stops(before) != proposed.stops(after):
            changed.append((text, proposed.stops(after)))
    result.blocked = sum(map(itemgetter(1), changed))
    result.passed = len(changed) - result.blocked
    runs = runs_with_excerpts([text.run_id for text, _ in changed[:ROWS_SHOWN]]) if changed else {}
    for text, is_blocked in changed[:ROWS_SHOWN]:
        if run := runs.get(text.run_id):
            second = (_recorded(text, now, head) or 0.0) / _threshold(proposed, head)
            result.rows.append(Row(run, text.side, is_blocked, _share(text, now), second))
    return result


def _first(text: Judged, spec: SafetySpec) -> SafetyVerdict | None:
    """Return the first stage's own verdict; None if terms, the size or a failure decided."""
    if text.layer not in BOTH:
        return None
    if not text.scores:
        is_foreign = text.cause == UnjudgedCause.LANGUAGE or text.layer == SafetyLayer.SENTENCES
        unjudged = VerdictDecision.UNAVAILABLE, SafetyLayer.MODEL
        return SafetyVerdict(*unjudged, cause=UnjudgedCause.LANGUAGE, language=text.language) if is_foreign else None
    scores = {SafetyCategory(name): score for name, score in text.scores.items()}
    share = _share(text, spec)
    decision = VerdictDecision.BLOCK if share is not None and share >= 1 else VerdictDecision.ALLOW
    return SafetyVerdict(decision, SafetyLayer.MODEL, scores=scores)


def _share(text: Judged, spec: SafetySpec) -> float | None:
    """Return the first stage's score as a share of its present threshold, in the category that decides."""
    scores = {SafetyCategory(name): score for name, score in text.scores.items()}
    worst = worst_of(scores, spec.policy.thresholds)
    return None if worst is None else scores[worst] / spec.policy.thresholds[worst]


def _recorded(text: Judged, now: SafetySpec, head: Head) -> float | None:
    """Return the second stage's score. Older verdicts do not have the threshold that it is a share of."""
    if text.second_score is None:
        return None
    return text.second_score * (text.second_threshold or _threshold(now, head))


def _threshold(spec: SafetySpec, head: Head) -> float:
    return spec.second_threshold or head.threshold


def _verdict(
    text: Judged, first: SafetyVerdict, spec: SafetySpec, score: float | None, head: Head
) -> SafetyVerdict | None:
    """Return the verdict that counts with these settings; None if it needs a score that was not recorded."""
    thresholds = spec.policy.thresholds
    if spec.second_mode != second_stage.ENFORCE or not is_asked(spec.second_scope, first, thresholds):
        return first
    if score is None:
        return None
    threshold = _threshold(spec, head)
    decision = VerdictDecision.BLOCK if score >= threshold else VerdictDecision.ALLOW
    return together(first, SecondVerdict(decision, threshold, score, combined=head.combined), thresholds)
