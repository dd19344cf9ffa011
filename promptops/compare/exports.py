"""A comparison as files: the rows and columns of its trials, its votes, and its arms with their texts.

Writing and streaming the files is done in `web.exports`.
"""

import hashlib
from typing import Any

from django.db.models import QuerySet

from promptops.compare.models import Arm, Comparison, Trial, Vote
from promptops.compare.queries.matrix import trials
from promptops.prompts.content import PARAMETERS
from promptops.runs.enums import RunStatus
from promptops.web.exports import FORMATS, Format, tabular

ARM_DETAILS = (
    "arm",
    "template",
    "version",
    "text_sha256",
    "provider",
    "provider_kind",
    "provider_url",
    "model",
    *PARAMETERS,
)
ARM_COLUMNS = ("comparison", "operation", *ARM_DETAILS, "text")
TRIAL_COLUMNS = (
    "comparison",
    "input_number",
    "repeat",
    *ARM_DETAILS,
    "state",
    "input",
    "output",
    "raw",
    "error",
    "erased",
    "masked",
    "latency_ms",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "cost_estimated",
    "finish_reason",
    "cut",
    "contract",
    "run",
    "finished_at",
)
VOTE_COLUMNS = ("comparison", "input_number", "repeat", "first", "second", "choice", "first_on_left", "voter", "at")


def rows(comparison: Comparison, what: str, name: str) -> tuple[QuerySet[Any], Format] | None:
    """Return the rows of an export and their format, or None if `what` or `name` is unknown.

    `what` is "trials", "votes" or "arms"; `name` is "csv" or "jsonl". Times are milliseconds and UTC, costs USD.
    """
    if name not in FORMATS:
        return None
    if what == "trials":
        return trials().filter(comparison=comparison), tabular(name, TRIAL_COLUMNS, _trial)
    if what == "votes":
        votes = Vote.objects.filter(comparison=comparison).select_related("input", "first", "second")
        return votes, tabular(name, VOTE_COLUMNS, _vote)
    if what == "arms":
        arms = comparison.arms.select_related("template", "version", "comparison")
        return arms, tabular(name, ARM_COLUMNS, _arm)
    return None


def _arm_details(arm: Arm) -> dict[str, Any]:
    return {
        "arm": arm.letter,
        "template": arm.template.name,
        "version": arm.version.number if arm.version else None,
        "text_sha256": hashlib.sha256(arm.body.encode()).hexdigest(),
        "provider": arm.provider_name,
        "provider_kind": arm.provider_kind,
        "provider_url": arm.provider_url,
        "model": arm.provider_model or arm.model,
        **arm.parameters,
    }


def _arm(arm: Arm) -> dict[str, Any]:
    return {
        "comparison": arm.comparison_id,
        "operation": arm.comparison.operation,
        **_arm_details(arm),
        "text": arm.body,
    }


def _trial(trial: Trial) -> dict[str, Any]:
    run = trial.run
    erased = bool(run and run.erased_at)
    # A text that pages mask is masked in files, too. The error of a failed run may quote its input.
    masked = bool(run and (run.input_masked or run.output_masked or run.raw_masked))
    error_may_quote = bool(run and run.input_masked and run.status != RunStatus.BLOCKED)
    return {
        "comparison": trial.comparison_id,
        "input_number": trial.input.position + 1,
        "repeat": trial.repeat + 1,
        **_arm_details(trial.arm),
        "state": trial.state,
        # Erasing a run means its texts are to disappear, including the input.
        "input": "" if erased or (run and run.input_masked) else trial.input.text,
        "output": run.output if run and not run.output_masked else "",
        # Empty unless the model wrote more than was used.
        "raw": run.raw if run and not run.output_masked and not run.raw_masked else "",
        "error": run.error if run and not error_may_quote else "",
        "erased": erased,
        "masked": masked,
        "latency_ms": round(run.latency_ms, 1) if run else None,
        "input_tokens": trial.input_tokens,  # type: ignore[attr-defined]
        "output_tokens": trial.output_tokens,  # type: ignore[attr-defined]
        "cost_usd": run.cost if run else None,
        "cost_estimated": run.cost_estimated if run else None,
        "finish_reason": trial.finish_reason,  # type: ignore[attr-defined]
        "cut": run.truncated if run else None,
        "contract": run.contract if run else None,
        "run": run.pk if run else None,
        "finished_at": trial.finished_at.isoformat() if trial.finished_at else None,
    }


def _vote(vote: Vote) -> dict[str, Any]:
    return {
        "comparison": vote.comparison_id,
        "input_number": vote.input.position + 1,
        "repeat": vote.repeat + 1,
        "first": vote.first.letter,
        "second": vote.second.letter,
        "choice": vote.choice,
        "first_on_left": vote.first_on_left,
        "voter": vote.user_name,
        "at": vote.at.isoformat(),
    }
