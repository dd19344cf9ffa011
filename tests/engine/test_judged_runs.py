"""A judged run: the order of judging and answering, when nobody answers, and pass-through."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from promptops.engine.errors import LLMProviderError, LLMRefusedError
from promptops.engine.events import RunDone
from promptops.engine.judged_runs import JudgedRun, Outcome, judge_the_rest, run_judged
from promptops.engine.safety.guard import DenyTerm, SafetyGuard, SafetyPolicy
from promptops.engine.snapshot import SafetySpec
from promptops.engine.types import LLMResponse, TextChunk

POLICY = SafetyPolicy(deny_terms=(DenyTerm("gore"),))
FAILURE = LLMProviderError("groq is down")


def safety(mode: str, *, blocks_when_down: bool = False) -> SafetySpec:
    return SafetySpec(mode, blocks_when_down, policy=POLICY, guard=SafetyGuard(None, POLICY))


def answering(answer: str | Exception, calls: list[str]):
    async def chain(attempts):
        calls.append("called")
        if isinstance(answer, Exception):
            raise answer
        yield TextChunk(answer)
        yield RunDone(LLMResponse(answer, "groq", "m", 1.0))

    return chain


async def run(text="a fox", answer: str | Exception = "a red fox", *, mode="enforce", **further):
    calls: list[str] = []
    judged, outcome = JudgedRun(safety(mode), text, answering(answer, calls), **further), Outcome()
    async with aclosing(run_judged(judged, outcome)) as happenings:
        events = [event async for event in happenings]
    await judge_the_rest(judged, outcome)
    texts = [event.text for event in events if isinstance(event, TextChunk)]
    return outcome, texts, bool(calls)


@pytest.mark.parametrize(
    ("mode", "text", "answer", "status", "texts", "called"),
    [
        ("enforce", "a fox", "a red fox", "succeeded", ["a red fox"], True),
        ("enforce", "gore", "a red fox", "blocked", [], False),
        ("enforce", "a fox", "gore", "blocked", [], True),
        ("shadow", "gore", "gore", "succeeded", ["gore"], True),
        ("off", "gore", "gore", "succeeded", ["gore"], True),
    ],
)
async def test_each_mode_judges_both_sides(mode, text, answer, status, texts, called):
    outcome, sent, was_called = await run(text, answer, mode=mode)
    assert (outcome.status, sent, was_called) == (status, texts, called)
    sides = [check.side for check in outcome.checks]
    assert sides == ([] if mode == "off" else ["input", "output"] if called else ["input"])


@pytest.mark.parametrize(
    ("on_failure", "failure", "status", "holds"),
    [
        ("error", FAILURE, "failed", False),
        ("input", FAILURE, "unchanged", False),
        ("hold", FAILURE, "failed", True),
        ("input", LLMRefusedError("groq declined"), "failed", False),
    ],
)
async def test_nobody_answers(on_failure, failure, status, holds):
    outcome, _, _ = await run(answer=failure, on_failure=on_failure)
    assert outcome.status == status
    assert ("keep what runs" in outcome.error) is holds


async def test_an_unexpected_error_fails_the_run_and_goes_on():
    outcome = Outcome()
    with pytest.raises(KeyError):
        async for _ in run_judged(JudgedRun(safety("off"), "a fox", answering(KeyError("x"), [])), outcome):
            pass
    assert outcome.status == "failed"


@pytest.mark.parametrize("mode", ["off", "shadow", "enforce"])
async def test_a_lever_passes_the_input_through_and_names_itself(mode):
    outcome, texts, called = await run(mode=mode, pass_through="Rita turned enhance off until 15:00.")
    assert (outcome.status, outcome.response, texts, called) == ("unchanged", None, [], False)
    assert outcome.error == "Rita turned enhance off until 15:00."
    assert [check.side for check in outcome.checks] == ([] if mode == "off" else ["input"])


async def test_safety_stays_on_while_a_lever_passes_inputs_through():
    outcome, _, called = await run("gore", pass_through="Rita turned enhance off.")
    assert (outcome.status, called) == ("blocked", False)
