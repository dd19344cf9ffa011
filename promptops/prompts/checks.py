"""The checks that a text must pass before it can be live. Pages show them, actions enforce them. No database here."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.core.exceptions import ValidationError

from promptops.engine import variables
from promptops.engine.contracts import JsonContract, contradictions
from promptops.engine.operations import OperationSpec
from promptops.platform.text import MAX_BODY_BYTES, clean_body
from promptops.texts.numbers import estimate_tokens

MAX_SENTENCES = 5  # of one check

# Error code of `clean_body` -> name of the check.
_PLACES = {"blank": "Not blank", "nul": "Readable", "utf8": "Readable", "long": "Length"}


@dataclass(frozen=True)
class Check:
    """One check: its name, whether the text passed it, and at least one sentence that explains the result.

    `warns` marks a check that the text passed although it may be wrong.
    """

    name: str
    passed: bool
    sentences: tuple[str, ...]
    warns: bool = False


def run_checks(body: str, values: Mapping[str, str]) -> list[Check]:
    """Check a text with the operation's variables (`values` by name). Checks and order are always the same."""
    refused: dict[str, str] = {}
    try:
        body = clean_body(body)
    except ValidationError as error:
        refused[_PLACES[str(error.code)]] = error.messages[0]
    if not refused and (size := variables.filled_bytes(body, values)) > MAX_BODY_BYTES:
        refused["Length"] = (
            f"With its variables filled in, the prompt is {size:,} bytes; at most {MAX_BODY_BYTES:,} (64 KiB) are "
            "allowed. Shorten the prompt or the values."
        )
    # A refused text is not filled in: with long values it could become huge.
    filled = body if refused else variables.fill(body, values)
    if not refused and not filled.strip():
        refused["Not blank"] = "With its variables filled in, the prompt is blank. Add some text."
    problems = variables.check(body, values)
    unknown = [problem.message for problem in problems if problem.unknown]
    stray = [problem.message for problem in problems if not problem.unknown]
    used = [name for name in variables.find(body) if name in values]
    size = len(filled.encode(errors="replace"))
    with_values = ", with variables filled in" if filled != body else ""
    summary = f"{size:,} of {MAX_BODY_BYTES:,} bytes, about {estimate_tokens(filled):,} tokens{with_values}."
    return [
        _check("Not blank", refused.get("Not blank"), "The prompt has text."),
        _check("Readable", refused.get("Readable"), "No broken or hidden characters."),
        _check("Length", refused.get("Length"), summary),
        _check("Braces", stray, "Every {{ is closed and has a name."),
        _check("Variables", unknown, f"Declared: {', '.join(used)}." if used else "No variables used."),
    ]


def contract_checks(body: str, values: Mapping[str, str], spec: OperationSpec) -> list[Check]:
    """Return a check that warns where a text contradicts the JSON contract of its operation; none without one.

    `body` has passed the other checks. Nothing fails here, because the check does not understand all right texts.
    """
    if not isinstance(spec.contract, JsonContract):
        return []
    known = {*(field.name for field in spec.fields), *values}
    warnings = contradictions(variables.fill(body, values), spec.contract, known=known)
    return [Check("Contract", True, warnings or ("The prompt names each key that the JSON needs.",), bool(warnings))]


def failures(checks: list[Check]) -> list[str]:
    """Return the sentences of the failed checks."""
    return [sentence for check in checks if not check.passed for sentence in check.sentences]


def _check(name: str, problems: list[str] | str | None, passed: str) -> Check:
    sentences = [problems] if isinstance(problems, str) else problems or []
    if len(sentences) > MAX_SENTENCES:
        sentences = [*sentences[:MAX_SENTENCES], "There are more problems like these."]
    return Check(name, not sentences, tuple(sentences) or (passed,))
