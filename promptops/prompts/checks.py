"""The checks that a text must pass before it can be live. Pages show them, actions enforce them. No database here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError

from promptops.engine import variables
from promptops.engine.contracts import JsonContract, contradictions
from promptops.engine.messages import COUNT, input_names, template_names
from promptops.engine.operations import OperationSpec
from promptops.platform.text import MAX_BODY_BYTES, clean_body
from promptops.prompts.answer_rules import fitting, narrowed
from promptops.prompts.examples import read_examples
from promptops.prompts.operation_words import answer_in_words
from promptops.texts.numbers import estimate_tokens

MAX_SENTENCES = 5  # of one check
MAX_USES = 20
"""How often a user template may use the input, so that a long input cannot make the message huge."""

USER_TEMPLATE = "User template"
EXAMPLES = "Examples"
ANSWER_RULES = "Answer rules"

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


def check_content(content: Any, values: Mapping[str, str], spec: OperationSpec) -> list[Check]:
    """Check the texts of a version, a draft or an arm for the operation. Texts that are not set have no check."""
    checks = run_checks(content.body, values)
    if content.user_template:
        problems = _template_problems(content.user_template, values, spec)
        found = ", ".join(variables.find(content.user_template))
        checks.append(_check(USER_TEMPLATE, [f"User template: {each}" for each in problems], f"Uses {found}."))
    if content.examples:
        checks.append(_examples(content.examples))
    if content.answer_rules and content.answer_rules.strip():
        checks.append(_answer_rules(content.answer_rules, spec))
    return checks


def _template_problems(template: str, values: Mapping[str, str], spec: OperationSpec) -> list[str]:
    try:
        clean_body(template, "the text")
    except ValidationError as error:
        return error.messages
    inputs, used = input_names(spec), variables.find(template)
    problems = [
        f"{name} is the name of an input and of a variable. Declare the variable under another name, then remove it."
        for name in template_names(spec)
        if name in used and name in values
    ]
    problems += [problem.message for problem in variables.check(template, {*values, *template_names(spec)})]
    wanted = " or ".join(f"{{{{ {name} }}}}" for name in inputs)
    if not set(inputs) & set(used):
        problems.append(f"it does not use the input. Add {wanted}.")
    optional = {field.name for field in spec.fields if not field.required}
    fewest = {name: "" if name in optional else "x" for name in template_names(spec)}
    if not problems and not variables.fill(template, {**values, **fewest}).strip():
        problems.append("it is empty when no optional field is filled in. Add text, or a required field.")
    uses = sum(piece.name in inputs for piece in variables.pieces(template))
    if uses > MAX_USES:
        problems.append(f"it uses the input {uses:,} times; at most {MAX_USES} are allowed.")
    size = variables.filled_bytes(template, {**values, **dict.fromkeys((*inputs, COUNT), "")})
    if size > MAX_BODY_BYTES:
        problems.append(f"with its variables filled in it is {size:,} bytes; at most {MAX_BODY_BYTES:,} are allowed.")
    return problems


def _examples(text: str) -> Check:
    try:
        clean_body(text, "The text of the examples")
        pairs = read_examples(text)
    except ValidationError as error:
        return _check(EXAMPLES, error.messages, "")
    except ValueError as error:
        return _check(EXAMPLES, str(error), "")
    return _check(EXAMPLES, None, f"{len(pairs)} pair{'' if len(pairs) == 1 else 's'}, sent as they are.")


def _answer_rules(text: str, spec: OperationSpec) -> Check:
    try:
        clean_body(text, "The text of the answer rules")
        contract = narrowed(spec, text)
    except ValidationError as error:
        return _check(ANSWER_RULES, error.messages, "")
    except ValueError as error:
        return _check(ANSWER_RULES, f"Answer rules: {error}", "")
    if contract is None or isinstance(contract, JsonContract):
        return _check(ANSWER_RULES, None, "Each answer must fit this schema, beside the operation's.")
    return _check(ANSWER_RULES, None, f"Each answer must be {answer_in_words(contract.to_data())}.")


def run_checks(body: str, values: Mapping[str, str]) -> list[Check]:
    """Check a text with the operation's variables (`values` by name). Checks and order are always the same."""
    refused: dict[str, str] = {}
    # Lines count from the beginning of what is typed, whose blank lines `clean_body` removes.
    problems = variables.check(body, values)
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


def contract_checks(content: Any, values: Mapping[str, str], spec: OperationSpec) -> list[Check]:
    """Return a check that warns where a text contradicts the JSON contract of its answers; none without one.

    `content` has passed the other checks. Nothing fails here, because the check does not understand all right texts.
    """
    contract = fitting(spec, content.answer_rules)
    if not isinstance(contract, JsonContract):
        return []
    known = {*(field.name for field in spec.fields), *values}
    warnings = contradictions(variables.fill(content.body, values), contract, known=known)
    return [Check("Contract", True, warnings or ("The prompt names each key that the JSON needs.",), bool(warnings))]


@dataclass(frozen=True)
class Finding:
    """A sentence of a failed check, and the name of the content's field that it is about."""

    sentence: str
    field: str


_FIELDS = {USER_TEMPLATE: "user_template", EXAMPLES: "examples", ANSWER_RULES: "answer_rules"}


_LINE_AND_COLUMN = re.compile(r"Line (\d+), column (\d+)")


def findings(checks: list[Check]) -> list[Finding]:
    """Return the sentences of the failed checks in the order of the texts, with the fields that they are about."""
    found = [
        Finding(sentence, _FIELDS.get(check.name, "body"))
        for check in checks
        if not check.passed
        for sentence in check.sentences
    ]
    fields = ["body", *_FIELDS.values()]
    return sorted(found, key=lambda finding: (fields.index(finding.field), _place(finding.sentence)))


def _place(sentence: str) -> list[int]:
    """Return the line and the column that a sentence names; nothing for a sentence about the whole text."""
    named = _LINE_AND_COLUMN.search(sentence)
    return [int(number) for number in named.groups()] if named else []


def failures(checks: list[Check]) -> list[str]:
    """Return the sentences of the failed checks."""
    return [sentence for check in checks if not check.passed for sentence in check.sentences]


def _check(name: str, problems: list[str] | str | None, passed: str) -> Check:
    sentences = [problems] if isinstance(problems, str) else problems or []
    if len(sentences) > MAX_SENTENCES:
        sentences = [*sentences[:MAX_SENTENCES], "There are more problems like these."]
    return Check(name, not sentences, tuple(sentences) or (passed,))
