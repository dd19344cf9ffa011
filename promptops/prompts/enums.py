"""The closed sets of prompts, as choices of fields. Their values are stored and are those of `engine.operations`."""

from django.db import models


class InputKind(models.TextChoices):
    """The form of an input."""

    TEXT = "text", "One text"
    LIST = "list", "A list of prompts, one a line"
    FIELDS = "fields", "Named fields"


class AnswerKind(models.TextChoices):
    """The kind of an answer."""

    TEXT = "text", "One text"
    LINES = "lines", "Alternatives, one a line"
    JSON = "json", "JSON"


class OnFailure(models.TextChoices):
    """What happens when nobody answers."""

    ERROR = "error", "An error"
    INPUT = "input", "The input goes on unchanged"
    HOLD = "hold", "An error that says to keep what runs"
