"""Asking the safety filter about the texts of a run, and why it blocked one."""

from promptops.engine.safety.guard import MAX_BYTES, SafetyLayer, SafetyVerdict, UnjudgedCause, VerdictDecision
from promptops.engine.snapshot import SafetySpec
from promptops.runs.enums import SafetyMode, SafetySide
from promptops.runs.plans import Outcome, RunPlan, SafetyChecked


class Blocked(Exception):
    """The safety filter withholds a text; the message is a sentence for operators that does not quote it."""


async def judge_the_rest(plan: RunPlan, outcome: Outcome) -> None:
    """Judge what nobody had to wait for: all in shadow, the input of a run given up at once."""
    if plan.snapshot.safety.mode != SafetyMode.OFF:
        seen = {check.side for check in outcome.checks}
        if SafetySide.INPUT not in seen:
            await judge(plan, SafetySide.INPUT, plan.input, outcome.checks)
        if outcome.response is not None and SafetySide.OUTPUT not in seen:
            await judge(plan, SafetySide.OUTPUT, outcome.response.content, outcome.checks)
        await judge_raw(plan, outcome)


async def judge_raw(plan: RunPlan, outcome: Outcome) -> None:
    """Judge the answer as written, which pages show beside the one that is used.

    It may say more than the answer as read, so it can be masked where that is not. It blocks no run: nobody gets it.
    """
    if any(masks(check) for check in outcome.checks):
        outcome.raw_masked = bool(outcome.raw)
    elif outcome.raw:
        outcome.raw_masked = masks(await judge(plan, SafetySide.OUTPUT, outcome.raw, []))


async def judge(plan: RunPlan, side: SafetySide, text: str, checks: list[SafetyChecked]) -> SafetyChecked:
    """The verdict on a text of the run, added to `checks`; never raises."""
    try:
        verdict = await plan.snapshot.safety.guard.check_async(text)
    except Exception as exc:  # as when the process is about to end and takes no more work
        reason = f"The safety filter could not be asked: {type(exc).__name__}"
        verdict = SafetyVerdict(VerdictDecision.UNAVAILABLE, reason=reason, cause=UnjudgedCause.OTHER)
    safety = plan.snapshot.safety
    checked = SafetyChecked(side, verdict, safety.mode == SafetyMode.ENFORCE and safety.stops(verdict))
    checks.append(checked)
    return checked


def raise_if_blocked(plan: RunPlan, checks: list[SafetyChecked]) -> None:
    if checks[-1].blocked:
        raise Blocked(blocked_sentence(checks[-1], plan.snapshot.safety))


def blocked_sentence(check: SafetyChecked, safety: SafetySpec) -> str:
    """Why the text is withheld, for operators. It quotes operators' terms, never what a person or a model wrote."""
    verdict, side = check.verdict, check.side.value
    if verdict.decision is VerdictDecision.UNAVAILABLE:
        return _unjudged_sentence(verdict, side)
    if verdict.decision is VerdictDecision.TOO_LONG:
        return f"The safety filter refused the {side} unread: it is longer than {MAX_BYTES:,} bytes. Shorten it."
    category = verdict.category.replace("_", "-") if verdict.category else "harmful"
    if verdict.layer is SafetyLayer.DENY_TERMS:
        return f'The safety filter blocked the {side}: it has the deny term "{" ".join(verdict.words)}" ({category}).'
    if verdict.category is None:
        return f"The safety filter blocked the {side}."
    score, threshold = verdict.scores[verdict.category], safety.policy.thresholds[verdict.category]
    return f"The safety filter blocked the {side}: {category} ({score:.2f}, blocked from {threshold:.2f} on)."


def _unjudged_sentence(verdict: SafetyVerdict, side: str) -> str:
    """Why a text is withheld that nobody found harmful: the operators chose so."""
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
    """Return whether pages mask the text: it is harmful, or an answer was withheld.

    An input that was only not judged stays readable: a mask would say that it is harmful.
    """
    if check.verdict.decision is VerdictDecision.UNAVAILABLE and check.side is SafetySide.INPUT:
        return False
    return check.verdict.decision is VerdictDecision.BLOCK or check.blocked
