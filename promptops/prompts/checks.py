"""The checks that a text passes before it can be live: one list, which pages show and actions enforce."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.core.exceptions import ValidationError

from promptops.engine import variables
from promptops.platform.text import MAX_BODY_BYTES, clean_body
from promptops.texts.numbers import estimate_tokens

MOST_TOLD = 5  # mistakes that one check spells out

# The check that a refusal of `clean_body` belongs to, by its code.
_PLACES = {"blank": "Not blank", "nul": "Readable", "utf8": "Readable", "long": "Length"}


@dataclass(frozen=True)
class Check:
    """One line of the list: what was looked at, whether it holds, and a sentence for each finding (at least one)."""

    name: str
    passed: bool
    sentences: tuple[str, ...]


def run_checks(body: str, values: Mapping[str, str]) -> list[Check]:
    """Check a text against the operation's variables (`values` by name). Always the same checks in the same order."""
    refused: dict[str, str] = {}
    try:
        body = clean_body(body)
    except ValidationError as error:
        refused[_PLACES[str(error.code)]] = error.messages[0]
    if not refused and (size := variables.filled_bytes(body, values)) > MAX_BODY_BYTES:
        refused["Length"] = (
            f"With its variables filled in the prompt is {size:,} bytes; at most {MAX_BODY_BYTES:,} (64 KiB) "
            "are allowed. Shorten it, or the values."
        )
    # What is refused is not filled: a few braces and long values could make it of any size.
    filled = body if refused else variables.fill(body, values)
    if not refused and not filled.strip():
        refused["Not blank"] = "With its variables filled in the prompt is blank. Write something beside them."
    problems = variables.check(body, values)
    unknown = [problem.message for problem in problems if problem.unknown]
    stray = [problem.message for problem in problems if not problem.unknown]
    used = [name for name in variables.find(body) if name in values]
    size = len(filled.encode(errors="replace"))
    with_values = ", with variables filled in" if filled != body else ""
    told = f"{size:,} of {MAX_BODY_BYTES:,} bytes, about {estimate_tokens(filled):,} tokens{with_values}."
    return [
        _check("Not blank", refused.get("Not blank"), "There is text."),
        _check("Readable", refused.get("Readable"), "No broken or hidden characters."),
        _check("Length", refused.get("Length"), told),
        _check("Braces", stray, "Every {{ is closed and names a variable."),
        _check("Variables", unknown, f"Declared: {', '.join(used)}." if used else "None is used."),
    ]


def failures(checks: list[Check]) -> list[str]:
    """The sentences of the checks that do not hold."""
    return [sentence for check in checks if not check.passed for sentence in check.sentences]


def _check(name: str, found: list[str] | str | None, fine: str) -> Check:
    sentences = [found] if isinstance(found, str) else found or []
    if len(sentences) > MOST_TOLD:
        sentences = [*sentences[:MOST_TOLD], "And more like these."]
    return Check(name, not sentences, tuple(sentences) or (fine,))
