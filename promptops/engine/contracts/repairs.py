"""The request that asks a model to correct its own answer."""

from __future__ import annotations

from dataclasses import replace

from promptops.engine.contracts.kinds import Contract
from promptops.engine.errors import LLMContractError
from promptops.engine.types import LLMMessage, LLMRequest

MAX_ANSWER_CHARACTERS = 20_000
"""The most characters of a wrong answer that are sent back. An answer of 3,000 tokens has about 15,000. More would use
up the model's context without helping it."""


def repair_of(request: LLMRequest, contract: Contract, breach: LLMContractError) -> LLMRequest:
    """Return `request` with the wrong answer, what is wrong with it, and the request for a correct one."""
    answer = breach.answer or "{}"  # a server that refuses its own invalid JSON does not send it
    if len(answer) > MAX_ANSWER_CHARACTERS:
        answer = answer[:MAX_ANSWER_CHARACTERS] + "…"
    problems = breach.problems or ("the JSON is invalid",)
    if len(problems) == 1:
        wrong = f"This answer cannot be used: {problems[0]}."
    else:
        wrong = "This answer cannot be used:\n" + "\n".join(f"- {problem}" for problem in problems)
    again = f"{wrong}\n\nWrite the whole answer again, corrected. Answer with {contract.wanted}."
    return replace(request, messages=[*request.messages, LLMMessage("assistant", answer), LLMMessage("user", again)])
