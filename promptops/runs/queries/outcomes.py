"""What the safety filter's verdicts do to a run, as conditions of lists of runs."""

from django.db.models import Exists, OuterRef, Q

from promptops.engine.safety.guard import UnjudgedCause, VerdictDecision
from promptops.runs.models import SafetyCheck

HARMFUL, TOO_LONG, LANGUAGE, DOWN = "harmful", "too_long", "language", "down"
OUTCOMES = (HARMFUL, TOO_LONG, LANGUAGE, DOWN)
"""What may stop a run, the first one first: a run with a harmful and an unjudged text is harmful."""


def having(outcome: str) -> Q:
    """Return the condition of runs with this outcome, one of OUTCOMES."""
    checks = SafetyCheck.objects.filter(run=OuterRef("pk"))
    unjudged = checks.filter(decision=VerdictDecision.UNAVAILABLE.value)
    conditions = {
        HARMFUL: Q(Exists(checks.filter(decision=VerdictDecision.BLOCK.value))),
        TOO_LONG: Q(Exists(checks.filter(decision=VerdictDecision.TOO_LONG.value))),
        LANGUAGE: Q(Exists(unjudged.filter(cause=UnjudgedCause.LANGUAGE.value))),
        DOWN: Q(Exists(unjudged.exclude(cause=UnjudgedCause.LANGUAGE.value))),
    }
    condition = conditions[outcome]
    for worse in OUTCOMES[: OUTCOMES.index(outcome)]:
        condition &= ~conditions[worse]
    return condition


# What the filter does not take, however it is set: no verdict, or too long to be read.
NOT_JUDGED = ("unavailable", "too_long")
