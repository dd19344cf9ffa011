"""Conditions on runs by the safety filter's verdicts. The verdicts of one run are in `runs.queries.verdicts`."""

from django.db.models import Exists, OuterRef, Q, QuerySet

from promptops.engine.safety.guard import UnjudgedCause, VerdictDecision
from promptops.runs.models import STOPS, SafetyCheck

HARMFUL, TOO_LONG, LANGUAGE, DOWN = "harmful", "too_long", "language", "down"
OUTCOMES = (HARMFUL, TOO_LONG, LANGUAGE, DOWN)
"""The reasons that stop a run, worst first: a run with a harmful and an unjudged text counts as harmful."""


def having(outcome: str) -> Q:
    """Return the condition on runs with this outcome, which is one of OUTCOMES."""
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


# Decisions about a text that the filter did not judge: without a verdict, or too long to be read.
NOT_JUDGED = ("unavailable", "too_long")


def verdicts_of(outcome: str) -> QuerySet[SafetyCheck]:
    """Return the verdicts that every run with this outcome has one of, for an index to find."""
    stops = SafetyCheck.objects.filter(STOPS)
    if outcome == DOWN:
        return stops.filter(decision=VerdictDecision.UNAVAILABLE.value).exclude(cause=UnjudgedCause.LANGUAGE.value)
    return stops.filter(
        **{
            HARMFUL: {"decision": VerdictDecision.BLOCK.value},
            TOO_LONG: {"decision": VerdictDecision.TOO_LONG.value},
            LANGUAGE: {"decision": VerdictDecision.UNAVAILABLE.value, "cause": UnjudgedCause.LANGUAGE.value},
        }[outcome]
    )
