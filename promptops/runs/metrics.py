"""The metrics of runs: outcomes, calls to providers, tokens, cost, verdicts, and the queue that records runs.

Drills count in no metric, as in no statistic. No label names a template: an installation may have hundreds.
"""

from collections.abc import Iterable

from promptops.engine.judged_runs import Outcome
from promptops.engine.judging import SafetyChecked
from promptops.engine.types import Attempt
from promptops.platform import metrics
from promptops.platform.metrics import Sample
from promptops.runs.actions.recording import recorder
from promptops.runs.ended import on_end
from promptops.runs.plans import RunPlan

SECONDS = (0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 20, 60)

operations, providers = metrics.Names(), metrics.Names()
runs = metrics.counter("promptops_runs_total", "Ended runs", ["operation", "outcome", "source"])
run_seconds = metrics.histogram(
    "promptops_run_duration_seconds", "Time from the start of a run to its end", ["operation"], buckets=SECONDS
)
attempts = metrics.counter(
    "promptops_attempts_total",
    "Ended calls to providers; error_kind is empty without an error",
    ["provider", "outcome", "error_kind"],
)
attempt_seconds = metrics.histogram(
    "promptops_attempt_duration_seconds", "Time from the start of a call to its end", ["provider"], buckets=SECONDS
)
first_text_seconds = metrics.histogram(
    "promptops_attempt_first_text_seconds",
    "Time from the start of a streamed call to its first text",
    ["provider"],
    buckets=SECONDS,
)
tokens = metrics.counter(
    "promptops_tokens_total",
    "Tokens that providers counted; cached ones are part of input, reasoning of output",
    ["provider", "type"],
)
cost = metrics.counter("promptops_cost_usd_total", "Cost of calls in USD, at the prices of the provider", ["provider"])
verdicts = metrics.counter(
    "promptops_safety_verdicts_total", "Verdicts of the safety filter", ["mode", "side", "decision", "blocked"]
)
judge_seconds = metrics.histogram(
    "promptops_safety_judge_duration_seconds",
    "Time in which the safety filter judged a text, waits included",
    ["side"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)


@on_end
def count(plan: RunPlan, outcome: Outcome) -> None:
    """Count an ended run."""
    if plan.drill:
        return
    operation = operations(plan.operation)
    runs.labels(operation, outcome.status, plan.source).inc()
    run_seconds.labels(operation).observe(outcome.latency_ms / 1000)
    for attempt in outcome.attempts:
        _count_attempt(attempt)
    for check in outcome.checks:
        _count_verdict(plan.snapshot.safety.mode, check)


def _count_attempt(attempt: Attempt) -> None:
    provider = providers(attempt.provider)
    attempts.labels(provider, attempt.outcome, attempt.error_kind or "").inc()
    attempt_seconds.labels(provider).observe(attempt.latency_ms / 1000)
    if attempt.first_text_ms is not None:
        first_text_seconds.labels(provider).observe(max(0.0, attempt.first_text_ms - attempt.started_ms) / 1000)
    if attempt.usage and not attempt.usage_estimated:
        for name in ("input", "output", "cached", "reasoning"):
            if number := getattr(attempt.usage, f"{name}_tokens"):
                tokens.labels(provider, name).inc(number)
    if attempt.cost:
        cost.labels(provider).inc(attempt.cost)


def _count_verdict(mode: str, check: SafetyChecked) -> None:
    decision = check.verdict.decision.value
    verdicts.labels(mode, check.side, decision, "true" if check.blocked else "false").inc()
    judge_seconds.labels(check.side).observe(check.seconds)


@metrics.read_gauge("promptops_recorder_waiting_runs", "Ended runs of this process that are not in the database yet")
def _waiting() -> Iterable[Sample]:
    return [((), recorder.waiting)]


@metrics.read_counter("promptops_recorder_dropped_runs_total", "Runs of this process that were never recorded")
def _dropped() -> Iterable[Sample]:
    return [((), recorder.status.dropped)]
