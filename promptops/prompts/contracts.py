"""The contract of an operation's answer as a row stores it, which is `Contract.to_data()` of the engine."""

from typing import Any

from django.core.exceptions import ValidationError

from promptops.engine.contracts import Contract
from promptops.prompts.enums import AnswerKind

MAX_COUNT = 10


def checked_answer(answer: Any) -> dict[str, Any]:
    """Return an answer's contract without what is left at its default. Raises ValidationError with a sentence."""
    if not isinstance(answer, dict) or answer.get("kind") not in AnswerKind.values:
        raise ValidationError({"answer": "Choose the kind of the answer."})
    count = answer.get("count")
    if answer["kind"] == AnswerKind.LINES and (type(count) is not int or not 1 <= count <= MAX_COUNT):
        raise ValidationError({"answer": f"Ask for 1 to {MAX_COUNT} alternatives."})
    try:
        return Contract.from_data(answer).to_data()
    except ValueError as error:
        raise ValidationError({"answer": f"{error}."}) from None


def contract_of(answer: dict[str, Any]) -> Contract | None:
    """Return the contract of a stored answer. Raises ValueError for one that is invalid.

    None for JSON without a schema, which operations had before contracts. Such an answer is not checked.
    """
    return None if answer == {"kind": AnswerKind.JSON} else Contract.from_data(answer)
