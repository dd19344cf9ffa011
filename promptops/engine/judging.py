"""The safety filter's judgment of a run's texts: verdicts, masking, and the sentence for a blocked text.

The filter itself is in `engine.safety`. The order of judging and answering belongs to `judged_runs`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from promptops.engine.safety.guard import MAX_BYTES, SafetyLayer, SafetyVerdict, UnjudgedCause, VerdictDecision
from promptops.engine.safety.second_stage import SecondVerdict, is_asked, together
from promptops.engine.snapshot import SafetySpec

Side: TypeAlias = Literal["input", "output"]
"""The text of a run that is judged."""

OFF, ENFORCE = "off", "enforce"
"""The modes of the filter in which it does nothing, and in which it withholds texts."""


@dataclass(frozen=True)
class SafetyChecked:
    """The verdict on one side of a run. `blocked` means that the text is withheld. `seconds` is the time it took.

    `verdict` is that of the whole filter. `second` is the second stage's own verdict, and `both` that of both stages
    together, which counts if the second stage is enforced; None if the second stage was not asked.
    """

    side: Side
    verdict: SafetyVerdict
    blocked: bool
    seconds: float = field(default=0.0, compare=False)
    second: SecondVerdict | None = None
    both: SafetyVerdict | None = None


class Blocked(Exception):
    """The safety filter withholds a text. The message is a sentence for operators that does not quote the text."""


async def judge(safety: SafetySpec, side: Side, text: str, checks: list[SafetyChecked]) -> SafetyChecked:
    """Return the verdict on a text of a run, and add it to `checks`. Never raises."""
    began, second, both = time.monotonic(), None, None
    try:
        verdict = await safety.guard.check_async(text)
        if safety.asks_second and is_asked(safety.second_scope, verdict, safety.policy.thresholds):
            second = await safety.second.judge_async(
                safety.guard.without_allowed(text, verdict), safety.second_threshold, verdict
            )
            both = together(verdict, second, safety.policy.thresholds)
            if safety.second_mode == ENFORCE:
                verdict = both
    except Exception as exc:  # such as while the process shuts down and takes no more work
        reason = f"The safety filter is unavailable: {type(exc).__name__}"
        verdict = SafetyVerdict(VerdictDecision.UNAVAILABLE, reason=reason, cause=UnjudgedCause.OTHER)
    is_blocked = safety.mode == ENFORCE and safety.stops(verdict)
    checked = SafetyChecked(side, verdict, is_blocked, time.monotonic() - began, second, both)
    checks.append(checked)
    return checked


def judge_beside(safety: SafetySpec, text: str) -> tuple[SafetyVerdict, SecondVerdict | None]:
    """Return the verdict on a text, and that of the second stage, for pages. Blocks; may load the second stage."""
    verdict, second = safety.guard.check_beside(text), None
    if safety.asks_second and is_asked(safety.second_scope, verdict, safety.policy.thresholds):
        second = safety.second.judge(safety.guard.without_allowed(text, verdict), safety.second_threshold, verdict)
        if safety.second_mode == ENFORCE:
            verdict = together(verdict, second, safety.policy.thresholds)
    return verdict, second


def raise_if_blocked(safety: SafetySpec, checked: SafetyChecked) -> None:
    """Raise Blocked if the verdict withholds its text."""
    if checked.blocked:
        raise Blocked(blocked_sentence(checked, safety))


def blocked_sentence(check: SafetyChecked, safety: SafetySpec) -> str:
    """Return why the text is withheld, for operators. It quotes operators' terms, never the text itself."""
    verdict, side = check.verdict, check.side
    if verdict.decision is VerdictDecision.UNAVAILABLE:
        return _unjudged_sentence(verdict, side)
    if verdict.decision is VerdictDecision.TOO_LONG:
        return f"The safety filter blocked the {side} unread: it is longer than {MAX_BYTES:,} bytes. Shorten it."
    category = verdict.category.replace("_", "-") if verdict.category else "harmful"
    if verdict.layer is SafetyLayer.DENY_TERMS:
        term = " ".join(verdict.words)
        return f'The safety filter blocked the {side}: it contains the denied term "{term}" ({category}).'
    if verdict.layer is SafetyLayer.SENTENCES:
        return f"The safety filter blocked the {side}: {category}. {verdict.reason}."
    if verdict.category is None:
        return f"The safety filter blocked the {side}."
    score, threshold = verdict.scores[verdict.category], safety.policy.thresholds[verdict.category]
    return f"The safety filter blocked the {side}: {category} (score {score:.2f}, threshold {threshold:.2f})."


def _unjudged_sentence(verdict: SafetyVerdict, side: str) -> str:
    """Return why a text is withheld without a verdict of harm: the operators chose to block unjudged texts."""
    if verdict.cause is UnjudgedCause.LANGUAGE:
        language = f" (mostly {verdict.language})" if verdict.language else ""
        return (
            f"Blocked: the safety filter doesn't know enough of these words to judge the {side}{language}. "
            "The settings block texts in languages that it doesn't know; releasers can change that on the Safety page."
        )
    reason = (verdict.reason or "").removesuffix(".")
    return (
        f"Blocked: the safety filter could not judge the {side}. {reason}. "
        "The settings block texts while the filter is down; releasers can change that on the Safety page."
    )


def masks(check: SafetyChecked) -> bool:
    """Return whether pages mask the text: it is harmful, or it is a withheld answer.

    An unjudged input stays readable, because a mask would suggest that it is harmful.
    """
    if check.verdict.decision is VerdictDecision.UNAVAILABLE and check.side == "input":
        return False
    return check.verdict.decision is VerdictDecision.BLOCK or check.blocked
