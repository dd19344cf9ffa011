"""The rows of an ended run, its attempts and its verdicts.

Waiting for an unavailable database belongs to `promptops.runs.actions.recording`.
"""

from collections.abc import Mapping, Sequence

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from promptops.engine.judged_runs import Outcome
from promptops.engine.judging import ENFORCE, SafetyChecked, masks
from promptops.engine.safety.classifier import log_odds
from promptops.engine.safety.guard import SafetyCategory, SafetyVerdict, VerdictDecision, worst_of
from promptops.engine.safety.second_stage import combined_log_odds
from promptops.engine.snapshot import SafetySpec
from promptops.engine.types import Attempt as EngineAttempt
from promptops.ledger import audit, registry
from promptops.ledger.audit import Actor
from promptops.ledger.registry import Action
from promptops.platform import events
from promptops.runs.enums import RunSource, RunStatus, SafetyQueue, SafetySide
from promptops.runs.models import Attempt, Run, SafetyCheck
from promptops.runs.plans import RunPlan

registry.noun("run", "Runs")
registry.object_kind("run", "Run", url=lambda entry: reverse("run", args=[entry.object_id]))
registry.register(
    Action(
        "run.drilled",
        "{actor} ran a failover drill: {after[drill]}",
        when="somebody ran a failover drill; it counts in no statistic",
        object="run",
    ),
)

BORDERLINE = 0.75
"""An allowed text with a score of at least this share of its category's threshold goes into the review queue."""


def record_run(plan: RunPlan, outcome: Outcome) -> int:
    """Save a run as `record_runs` does, and return its id."""
    return record_runs([(plan, outcome)])[0]


@transaction.atomic
def record_runs(ended: Sequence[tuple[RunPlan, Outcome]]) -> list[int]:
    """Save runs with their attempts and verdicts, send a hint to open pages on commit, and return the runs' ids."""
    runs = Run.objects.bulk_create([_run(plan, outcome) for plan, outcome in ended])
    attempts, checks = [], []
    for run, (plan, outcome) in zip(runs, ended, strict=True):
        if plan.drill and plan.by:
            by = Actor.person(plan.by)
            audit.record("run.drilled", by=by, object=run, object_name=str(run), after={"drill": str(plan.drill)})
        attempts += [_attempt(run, position, attempt) for position, attempt in enumerate(outcome.attempts, start=1)]
        checks += [_safety_check(run, check, plan.snapshot.safety) for check in outcome.checks]
    Attempt.objects.bulk_create(attempts)
    SafetyCheck.objects.bulk_create(checks)
    for run, (plan, outcome) in zip(runs, ended, strict=True):
        if plan.recorded:
            plan.recorded(run, outcome.error_kind)
    # Comparisons record hundreds of runs a second; pages get hints about the comparison instead.
    if shown := [run.pk for run in runs if run.source != RunSource.COMPARISON]:
        events.broadcast_on_commit(events.RUN_RECORDED, max(shown))
    return [run.pk for run in runs]


def _run(plan: RunPlan, outcome: Outcome) -> Run:
    masked = {check.side for check in outcome.checks if masks(check)}
    response, attempts = outcome.response, outcome.attempts
    return Run(
        at=outcome.at or timezone.now(),
        source=plan.source,
        operation=plan.operation,
        user=plan.by,
        token_id=plan.token,
        request_id=plan.request_id or None,
        public_id=plan.public_id,
        template_id=plan.template_id,
        version_id=plan.version_id,
        draft_body="" if plan.version_id else plan.content.body,
        draft_user_template=None if plan.version_id else plan.content.user_template,
        draft_examples=None if plan.version_id else plan.content.examples,
        draft_answer_rules=None if plan.version_id else plan.content.answer_rules,
        **plan.parameters,
        count=plan.count,
        revision=plan.snapshot.revision,
        input=plan.input,
        output=response.content if response else "",
        raw=outcome.raw,
        status=outcome.status,
        error=outcome.error,
        provider=response.provider if response else "",
        model=response.model if response else "",
        fallback_used=response.fallback_used if response else False,
        latency_ms=outcome.latency_ms,
        truncated=response.truncated if response else False,
        cost=_total_cost(attempts),
        cost_estimated=any(attempt.cost_estimated for attempt in attempts),
        drill=str(plan.drill or "")[:80],
        input_masked=SafetySide.INPUT in masked,
        # An answer to a harmful input repeats it.
        output_masked=bool(masked and response),
        raw_masked=outcome.raw_masked,
        contract=None if outcome.status == RunStatus.CANCELED else plan.contract_outcome(attempts),
    )


def _attempt(run: Run, position: int, attempt: EngineAttempt) -> Attempt:
    return Attempt(
        run=run,
        position=position,
        provider=attempt.provider,
        model=attempt.model or "",
        outcome=attempt.outcome,
        error_kind=attempt.error_kind or "",
        message=attempt.message or "",
        started_ms=attempt.started_ms,
        first_text_ms=attempt.first_text_ms,
        latency_ms=attempt.latency_ms,
        input_tokens=attempt.usage.input_tokens if attempt.usage else None,
        output_tokens=attempt.usage.output_tokens if attempt.usage else None,
        cached_tokens=attempt.usage.cached_tokens if attempt.usage else None,
        reasoning_tokens=attempt.usage.reasoning_tokens if attempt.usage else None,
        usage_estimated=attempt.usage_estimated,
        cost=attempt.cost,
        cost_estimated=attempt.cost_estimated,
        queued_ms=attempt.queued_ms,
        connect_ms=attempt.connect_ms,
        answered_model=(attempt.answered_model or "")[:200],
        finish_reason=(attempt.finish_reason or "")[:40],
        truncated=attempt.truncated,
        hedge=attempt.hedge,
        repair=attempt.repair,
        status=attempt.status,
    )


def _safety_check(run: Run, check: SafetyChecked, safety: SafetySpec) -> SafetyCheck:
    verdict = check.verdict
    thresholds = safety.policy.thresholds
    shares = [score / thresholds[name] for name, score in verdict.scores.items() if thresholds.get(name)]
    share = max(shares, default=None)
    queue = ""
    if verdict.decision is VerdictDecision.BLOCK:
        queue = SafetyQueue.BLOCKED
    elif verdict.decision is VerdictDecision.ALLOW and share is not None and share >= BORDERLINE:
        queue = SafetyQueue.BORDERLINE
    second, both = check.second, check.both
    would_block = both is not None and second is not None and second.score is not None and _is_block(both)
    if not queue and would_block:
        queue = SafetyQueue.BORDERLINE  # the second stage would change the verdict
    distance = _distance(verdict.scores, thresholds)
    if second and second.combined and safety.second_mode == ENFORCE:
        odds = combined_log_odds(verdict, second, thresholds)
        distance = distance if odds is None else abs(odds - log_odds(second.combined.threshold))
    return SafetyCheck(
        run=run,
        second_score=second.share if second else None,
        second_threshold=second.threshold if second and second.score is not None else None,
        disagreement=_disagreement(share, second.share) if second else None,
        second_category=((both.category or "") if both and would_block else "") if second else None,
        side=check.side,
        decision=verdict.decision.value,
        layer=verdict.layer.value if verdict.layer else "",
        category=verdict.category.value if verdict.category else "",
        scores={name.value: round(score, 4) for name, score in verdict.scores.items()},
        score=share,
        distance=distance,
        cause=verdict.cause.value if verdict.cause else "",
        language=verdict.language,
        words=list(verdict.words),
        window=verdict.window if verdict.category else "",
        reason=verdict.reason or "",
        model_id=safety.model_id,
        mode=safety.mode,
        blocked=check.blocked,
        at=run.at,
        queue=queue,
    )


def _is_block(verdict: SafetyVerdict) -> bool:
    return verdict.decision is VerdictDecision.BLOCK


def _distance(scores: Mapping[SafetyCategory, float], thresholds: Mapping[SafetyCategory, float]) -> float | None:
    """Return how far, in log-odds, the scores are from the nearest threshold at which the verdict changes.

    Of a text that passes, it is the nearest threshold of all; of a blocked one, that of the category that blocks.
    """
    worst = worst_of(scores, thresholds)
    return None if worst is None else abs(log_odds(scores[worst]) - log_odds(thresholds[worst]))


def _disagreement(first: float | None, second: float | None) -> float | None:
    """Return how far apart the scores of both stages are, as shares of their thresholds; None unless both have one.

    It is 0 if both block or both allow.
    """
    if first is None or second is None:
        return None
    return abs(first - second) if (first >= 1) != (second >= 1) else 0.0


def _total_cost(attempts: list[EngineAttempt]) -> float | None:
    costs = [attempt.cost for attempt in attempts if attempt.cost is not None]
    return sum(costs) if costs else None
