"""The fields of an answer's contract, as a part of the form of an operation."""

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from promptops.engine.contracts.kinds import MAX_PHRASE_CHARACTERS, MAX_PHRASES, MAX_WORDS
from promptops.engine.contracts.schemas import MAX_SCHEMA_BYTES
from promptops.prompts.contracts import MAX_COUNT, checked_answer
from promptops.prompts.enums import AnswerKind
from promptops.prompts.operation_words import schema_in_words

ANY_OBJECT = '{\n  "type": "object"\n}'
CONTRACT = ("one_paragraph", "max_words", "contains", "excludes", "schema")


def _phrases(label: str) -> forms.CharField:
    widget = forms.Textarea(attrs={"rows": 2, "dir": "auto", "maxlength": (MAX_PHRASE_CHARACTERS + 2) * MAX_PHRASES})
    return forms.CharField(label=label, required=False, widget=widget, help_text="One phrase a line, in any case.")


class AnswerFields(forms.Form):
    """The kind of an answer, and the rules that an answer of this kind must keep."""

    answer = forms.ChoiceField(label="Answer", choices=AnswerKind.choices)
    count = forms.IntegerField(label="Alternatives", required=False, min_value=1, max_value=MAX_COUNT, initial=3)
    at_least = forms.IntegerField(
        label="At least",
        required=False,
        min_value=1,
        max_value=MAX_COUNT,
        help_text="Fewer fall back. Empty: all of them.",
    )
    one_paragraph = forms.BooleanField(label="One paragraph, without line breaks", required=False)
    max_words = forms.IntegerField(
        label="Words, at most",
        required=False,
        min_value=1,
        max_value=MAX_WORDS,
        help_text="Each Chinese or Japanese character is a word.",
    )
    contains = _phrases("Must contain")
    excludes = _phrases("Must not contain")
    schema = forms.CharField(
        label="JSON Schema",
        required=False,
        initial=ANY_OBJECT,
        max_length=2 * MAX_SCHEMA_BYTES,
        widget=forms.Textarea(attrs={"class": "mono", "rows": 14, "spellcheck": "false", "dir": "ltr"}),
        help_text="Draft 2020-12. Each answer is checked by it.",
    )

    def clean_schema(self) -> Any:
        """Return the schema as a value; None without one. Other kinds of answers do not read it."""
        text = self.cleaned_data["schema"]
        if self.cleaned_data.get("answer") != AnswerKind.JSON or not text.strip():
            return None
        try:
            return json.loads(text)
        except RecursionError:
            raise ValidationError("The schema is nested too deeply.") from None
        except ValueError as error:
            where = f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            raise ValidationError(f"This is no valid JSON{where}. Correct it.") from None

    def clean(self) -> None:
        fields = self.cleaned_data
        kind = fields.get("answer")
        if kind == AnswerKind.LINES and "count" in fields and not fields["count"]:
            self.add_error("count", f"Ask for 1 to {MAX_COUNT} alternatives.")
        elif kind == AnswerKind.LINES and {"count", "at_least"} <= fields.keys():
            self._check("at_least")
        elif kind == AnswerKind.TEXT and {"max_words", "contains", "excludes"} <= fields.keys():
            self._check(None)
        elif kind == AnswerKind.JSON and "schema" in fields:
            self._check("schema")

    def _check(self, field: str | None) -> None:
        try:
            checked_answer(self.contract)
        except ValidationError as error:
            self.add_error(field, [message for messages in error.message_dict.values() for message in messages])

    @property
    def contract(self) -> dict[str, Any]:
        """Return the answer as an operation stores it. Call it for a form without errors in these fields."""
        fields = self.cleaned_data
        kind = fields["answer"]
        if kind == AnswerKind.LINES:
            least = fields["at_least"]
            return {"kind": kind, "count": fields["count"]} | ({"at_least": least} if least else {})
        if kind == AnswerKind.JSON:
            return {"kind": kind} | ({"schema": fields["schema"]} if fields["schema"] is not None else {})
        rules = {
            "one_paragraph": fields["one_paragraph"],
            "max_words": fields["max_words"],
            "contains": _lines(fields["contains"]),
            "excludes": _lines(fields["excludes"]),
        }
        return {"kind": kind} | {name: rule for name, rule in rules.items() if rule}

    @property
    def has_rules(self) -> bool:
        """Return whether a text has rules, or wrong ones, so that the page opens them."""
        return any(self[name].value() or self[name].errors for name in CONTRACT if name != "schema")


def answer_values(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the initial values of the fields for a stored answer."""
    return {
        "answer": answer["kind"],
        "count": answer.get("count", 3),
        "at_least": answer.get("at_least"),
        "one_paragraph": answer.get("one_paragraph", False),
        "max_words": answer.get("max_words"),
        "contains": "\n".join(answer.get("contains", [])),
        "excludes": "\n".join(answer.get("excludes", [])),
        "schema": schema_in_words(answer) or ANY_OBJECT,
    }


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
