"""Variables of system prompts."""

from django.core.validators import RegexValidator
from django.db import models

from promptops.engine.operations import MAX_NAME_CHARACTERS

MAX_VALUE_CHARACTERS = 4000  # as `actions.variables.clean_value` enforces


class Variable(models.Model):
    """The value of `{{ name }}` in the system prompts of one operation. Variables are part of what is live."""

    operation = models.CharField(max_length=MAX_NAME_CHARACTERS)
    name = models.CharField(
        max_length=40,
        validators=[
            RegexValidator(
                r"\A[a-z][a-z0-9_]*\Z",
                "Use lower-case letters, digits and _ only, starting with a letter.",
            )
        ],
    )
    value = models.TextField(blank=True)
    description = models.CharField(max_length=200, blank=True)
    changed_revision = models.PositiveIntegerField(
        default=0, help_text="The revision of the last change, which an edit must know to succeed."
    )

    class Meta:
        ordering = ["operation", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["operation", "name"],
                name="variable_name_unique",
                violation_error_message="A variable of that name is declared already. Change that one.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.operation}.{self.name}"
