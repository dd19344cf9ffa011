"""The answer rules of a version, a text that narrows the contract of its operation. No database here.

For JSON they are a JSON Schema that each answer must fit, too. For other answers they are one rule a line, in the words
of `FORMS`.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from promptops.engine.contracts import Contract, JsonContract, LinesContract, TextContract
from promptops.engine.contracts.kinds import MAX_PHRASES, MAX_WORDS
from promptops.engine.contracts.schemas import MAX_SCHEMA_BYTES
from promptops.engine.operations import OperationSpec

FORMS: Mapping[str, str] = {
    "text": "must contain: … · must not contain: … · one paragraph · at most 80 words",
    "lines": "at least 2",
}
"""The rules for each kind of answer but JSON, as pages explain them."""

EXAMPLE = '{"required": ["style"]}'

_WORDS = re.compile(r"(?:at most )?([\d,]+) words?", re.I)
_LEAST = re.compile(r"(?:at least )?(\d+)(?: alternatives?)?", re.I)
_PHRASE = re.compile(r"must( not)? contain[ \t]*:(.*)", re.I)
_LONGEST_NUMBER = 9  # digits


def hint(spec: OperationSpec) -> str:
    """Return what somebody writes as answer rules of the operation."""
    if spec.answer == "json":
        return f"A JSON Schema that each answer must fit, beside the operation's, such as {EXAMPLE}."
    return f"One rule a line, beside the operation's: {FORMS[spec.answer]}."


def read_rules(text: str | None, spec: OperationSpec) -> Contract | None:
    """Return the contract that the rules of a version form by themselves; None without rules.

    Raises ValueError with sentences for rules that do not fit the operation's kind of answer.
    """
    if not text or not text.strip():
        return None
    if len(text.encode(errors="replace")) > 2 * MAX_SCHEMA_BYTES:
        raise ValueError(f"The rules have more than {2 * MAX_SCHEMA_BYTES:,} bytes. Shorten them.")
    if spec.answer == "json":
        return _schema(text)
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if spec.answer == "lines":
        return _least(lines, spec)
    return _text(lines)


def narrowed(spec: OperationSpec, text: str | None) -> Contract | None:
    """Return the operation's contract, narrowed by the rules of a version. None if nothing is checked.

    Raises ValueError with sentences for rules that do not fit, or that would allow more than the operation.
    """
    rules = read_rules(text, spec)
    if rules is None:
        return spec.contract
    try:
        return rules if (base := _base(spec)) is None else base.narrowed_by(rules)
    except ValueError as error:
        raise ValueError(f"{error}. Change the rule, or the operation.") from None


def fitting(spec: OperationSpec, text: str | None) -> Contract | None:
    """Return the same for rules that were checked before. If they no longer fit, the operation's contract counts."""
    try:
        return narrowed(spec, text)
    except ValueError:
        return spec.contract


def _base(spec: OperationSpec) -> Contract | None:
    """Return the operation's contract, or that of its kind of answer. JSON without a schema has none."""
    if spec.contract is not None or spec.answer == "json":
        return spec.contract
    return TextContract() if spec.count is None else LinesContract(spec.count, 1)


def _schema(text: str) -> Contract:
    try:
        schema = json.loads(text)
    except RecursionError:
        raise ValueError("The schema is nested too deeply. Simplify it.") from None
    except ValueError as error:
        where = f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(
            f"This operation answers with JSON, and the rules are no valid JSON{where}. "
            f"Write a JSON Schema, such as {EXAMPLE}."
        ) from None
    try:
        return JsonContract.of(schema)
    except ValueError as error:
        raise ValueError(f"{error}. Write a JSON Schema, such as {EXAMPLE}.") from None


def _least(lines: list[tuple[int, str]], spec: OperationSpec) -> Contract:
    rules = [(number, line, _LEAST.fullmatch(line.rstrip("."))) for number, line in lines]
    for number, line, match in rules:
        if match is None or len(match[1]) > _LONGEST_NUMBER:
            raise ValueError(_no_rule(number, line, spec))
    if len(rules) > 1:
        raise ValueError(f"There are {len(rules)} rules, and alternatives take one. Keep one of them.")
    count = spec.count or 1
    least = int(rules[0][2][1])  # type: ignore[index]
    if not 1 <= least <= count:
        raise ValueError(f"{spec.name} answers with {count} alternatives. Write a number from 1 to {count}.")
    return LinesContract(count, least if least < count else None)


def _text(lines: list[tuple[int, str]]) -> Contract:
    rules: dict[str, Any] = {}
    phrases: dict[str, list[str]] = {"contains": [], "excludes": []}
    for number, line in lines:
        if match := _PHRASE.fullmatch(line):
            phrases["excludes" if match[1] else "contains"].append(match[2].strip())
            continue
        plain = " ".join(line.rstrip(".").split())
        words = _WORDS.fullmatch(plain)
        name = "one_paragraph" if plain.casefold() == "one paragraph" else "max_words" if words else ""
        if not name:
            raise ValueError(_no_rule(number, line, None))
        if name in rules:
            raise ValueError(f"Line {number} repeats a rule. Keep one of the two.")
        rules[name] = _number(words[1], number) if words else True
    for name, listed in phrases.items():
        if not all(listed):
            raise ValueError("A rule has no phrase after its colon. Add the phrase, or remove the rule.")
        if len(listed) > MAX_PHRASES:
            raise ValueError(f"There are {len(listed)} phrases of one kind, and at most {MAX_PHRASES} are allowed.")
        rules[name] = tuple(listed)
    try:
        return TextContract(**rules)
    except ValueError as error:
        raise ValueError(f"{error}.") from None


def _number(digits: str, line: int) -> int:
    digits = digits.replace(",", "")
    number = int(digits) if digits and len(digits) <= _LONGEST_NUMBER else 0
    if not 1 <= number <= MAX_WORDS:
        raise ValueError(f"Line {line} needs a number of words from 1 to {MAX_WORDS:,}.")
    return number


def _no_rule(number: int, line: str, spec: OperationSpec | None) -> str:
    shown = line if len(line) <= 60 else f"{line[:59]}…"
    return f"Line {number} is no rule: “{shown}”. Write: {FORMS[spec.answer if spec else 'text']}."
