"""Answers to machines about a run: its result, and the problem of a run without one.

`finished` executes a run without waiting for the database: the answer names the run by an id that is known before.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, Literal

from django.urls import reverse
from pydantic import BaseModel, Field

from promptops.api.problems import Problem, later
from promptops.engine.judging import SafetyChecked
from promptops.engine.rewrite import parse_alternatives
from promptops.engine.types import Attempt
from promptops.runs.actions.execution import execute
from promptops.runs.enums import RunStatus
from promptops.runs.machines import InvalidRun, MachinePlan
from promptops.runs.plans import RunEvent, RunRecorded

MOST_AT_ONCE = 512
"""The most runs of machines in progress in this process."""

_in_progress = 0


class SafetyVerdict(BaseModel):
    """The verdict of the safety filter on one side of a run. It quotes no text."""

    side: Literal["input", "output"]
    decision: str
    category: str | None
    layer: str | None
    scores: dict[str, float]
    blocked: bool = Field(description="Whether the text is withheld.")


class SafetyFacts(BaseModel):
    """The mode of the safety filter, and its verdicts. In shadow mode they come after the answer."""

    mode: str
    checks: list[SafetyVerdict]


class AttemptFacts(BaseModel):
    """One call to a provider."""

    provider: str
    model: str
    outcome: str
    error_kind: str
    latency_ms: float


class RunAnswer(BaseModel):
    """The result of a run."""

    run: str = Field(description="The id of the run.")
    url: str = Field(description="Its page, which appears once the run is recorded.")
    status: Literal["succeeded", "unchanged"]
    content: str
    alternatives: list[str] | None = Field(description="For an operation that offers alternatives.")
    data: Any = Field(description="The value of a JSON answer.")
    note: str = Field(description="Why the content is the input, unchanged.")
    operation: str
    template: str = Field(description="Empty for the built-in text of an operation.")
    version: int
    revision: int
    epoch: str
    provider: str
    model: str
    fallback_used: bool
    truncated: bool
    attempts: list[AttemptFacts]
    safety: SafetyFacts
    latency_ms: float
    request_id: str
    session: str | None = Field(description="The id of the session to send next time.")


@contextmanager
def room(runs: int = 1) -> Iterator[None]:
    """Count runs in progress. Raises a problem if there are too many already."""
    global _in_progress
    if _in_progress + runs > MOST_AT_ONCE:
        raise later("busy", "Too many runs are in progress. Try again in a few seconds.", 1)
    _in_progress += runs
    try:
        yield
    finally:
        _in_progress -= runs


async def happenings(plan: MachinePlan) -> AsyncGenerator[RunEvent, None]:
    """Yield the events of a run, the last of which is `RunRecorded`. Iterate inside `aclosing`."""
    async with aclosing(execute(plan)) as events:
        async for event in events:
            yield event


async def finished(plan: MachinePlan) -> RunRecorded:
    """Execute the run to its end."""
    end = None
    async with aclosing(execute(plan)) as events:
        async for event in events:
            if isinstance(event, RunRecorded):
                end = event
    assert end is not None, "a run ends with RunRecorded"
    return end


def invalid(error: InvalidRun) -> Problem:
    """Return the problem of a run that cannot be planned."""
    if error.field == "operation":
        return Problem(404, "not-found", str(error))
    return Problem(422, "invalid", str(error), errors=[{"field": error.field, "detail": str(error)}])


def answer(plan: MachinePlan, end: RunRecorded, session: str | None = None) -> dict[str, Any]:
    """Return the values of `RunAnswer`. Raises the problem of a run without a result."""
    if (problem := problem_of(plan, end)) is not None:
        raise problem
    response = end.response
    content = response.content if response else plan.input
    count = plan.count
    return {
        **_identity(plan),
        "status": end.status.value,
        "content": content,
        "alternatives": parse_alternatives(content, count) if response and count is not None else None,
        "data": response.data if response else None,
        "note": end.error,
        "provider": response.provider if response else "",
        "model": response.model if response else "",
        "fallback_used": bool(response and response.fallback_used),
        "truncated": bool(response and response.truncated),
        **_facts(plan, end),
        "request_id": plan.request_id,
        "session": session,
    }


def problem_of(plan: MachinePlan, end: RunRecorded) -> Problem | None:
    """Return the problem of a run without a result; None for one with a result."""
    if end.status in (RunStatus.SUCCEEDED, RunStatus.UNCHANGED):
        return None
    facts = {"run": _identity(plan) | _facts(plan, end)}
    if end.status == RunStatus.BLOCKED:
        blocked = next((check for check in end.checks if check.blocked), None)
        return Problem(
            422,
            "blocked",
            end.error,
            side=blocked.side if blocked else None,
            category=blocked.verdict.category if blocked else None,
            safety=facts["run"]["safety"],
            **facts,
        )
    holds = plan.on_failure == "hold"
    return Problem(502, "keep-running" if holds else "unanswered", end.error, **facts)


def _identity(plan: MachinePlan) -> dict[str, Any]:
    public_id = str(plan.public_id)
    return {
        "run": public_id,
        "url": reverse("run_by_public_id", args=[public_id]),
        "operation": plan.operation,
        "template": plan.live.name,
        "version": plan.live.version_number,
        "revision": plan.snapshot.revision,
        "epoch": plan.snapshot.epoch,
    }


def _facts(plan: MachinePlan, end: RunRecorded) -> dict[str, Any]:
    return {
        "attempts": [_attempt(attempt) for attempt in end.attempts],
        "safety": {"mode": plan.snapshot.safety.mode, "checks": [verdict(check) for check in end.checks]},
        "latency_ms": round(end.latency_ms, 1),
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "provider": attempt.provider,
        "model": attempt.model or "",
        "outcome": attempt.outcome,
        "error_kind": attempt.error_kind or "",
        "latency_ms": round(attempt.latency_ms, 1),
    }


def verdict(check: SafetyChecked) -> dict[str, Any]:
    """Return the values of `SafetyVerdict`."""
    found = check.verdict
    return {
        "side": check.side,
        "decision": found.decision.value,
        "category": found.category,
        "layer": found.layer.value if found.layer else None,
        "scores": {name: round(score, 4) for name, score in found.scores.items()},
        "blocked": check.blocked,
    }
