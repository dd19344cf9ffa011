"""Operations: what a streaming server can ask for, and what it gets."""

import json
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from promptops.engine.operations import MAX_NAME_CHARACTERS
from promptops.prompts.content import SETTINGS
from promptops.prompts.enums import AnswerKind, InputKind, OnFailure

FIELD_NAME = RegexValidator(
    r"\A[a-z][a-z0-9_]{0,39}\Z", "Use at most 40 lower-case letters, digits and _, starting with a letter."
)


class OrderedJSONField(models.JSONField):
    """JSON whose keys keep their order, because a model writes keys in the order of its schema. `jsonb` sorts them."""

    def get_internal_type(self) -> str:
        return "TextField"

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return None if value is None else json.dumps(value)


def text_answer() -> dict[str, str]:
    """Return the answer of a new operation."""
    return {"kind": AnswerKind.TEXT.value}


class Operation(models.Model):
    """One operation. It is part of what is live until it is archived. Its name never changes.

    Values that are None or empty are those of the settings, or are derived from the others.
    """

    name = models.CharField(
        max_length=MAX_NAME_CHARACTERS,
        unique=True,
        validators=[
            RegexValidator(r"\A[a-z][a-z0-9_]*\Z", "Use lower-case letters, digits and _ only, starting with a letter.")
        ],
        error_messages={"unique": "An operation of that name exists. Choose another name."},
    )
    purpose = models.CharField(max_length=200)
    input = models.CharField(max_length=10, choices=InputKind, default=InputKind.TEXT)
    fields = models.JSONField(
        default=list, blank=True, help_text="Of an input of fields: name, description, required, max_characters."
    )
    input_label = models.CharField(max_length=60, blank=True)
    input_heading = models.CharField(max_length=60, blank=True)
    answer = OrderedJSONField(default=text_answer, help_text="The contract: `Contract.to_data()` of the engine.")
    timeout_ms = models.PositiveIntegerField(
        "time limit of a run",
        null=True,
        blank=True,
        validators=[MinValueValidator(500), MaxValueValidator(600_000)],
    )
    max_tokens = models.PositiveIntegerField(null=True, blank=True, validators=SETTINGS["max_tokens"].validators)
    hedge = models.CharField(
        "hedging",
        max_length=6,
        blank=True,
        validators=[
            RegexValidator(r"\A(p95|[0-9]{1,5}|)\Z", "Leave it empty, or give p95 or milliseconds up to 99999.")
        ],
        help_text="When the next provider is called too: never, p95, or after that many milliseconds.",
    )
    retention_days = models.PositiveIntegerField(
        "keep the text of runs for",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(3650)],
    )
    on_failure = models.CharField(max_length=10, choices=OnFailure, default=OnFailure.ERROR)
    keeps_system = models.BooleanField(default=False, help_text="A caller's own system text is kept.")
    built_in = models.BooleanField(default=False)
    archived_at = models.DateTimeField(null=True, blank=True)
    changed_revision = models.PositiveIntegerField(
        default=0, help_text="The revision of the last change, which an edit must know to succeed."
    )

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.name
