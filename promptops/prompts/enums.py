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


class RequestState(models.TextChoices):
    """The state of a request for a release."""

    OPEN = "open", "Open"
    SENT_BACK = "sent_back", "Sent back"
    PUBLISHED = "published", "Published"
    WITHDRAWN = "withdrawn", "Withdrawn"

    @property
    def tone(self) -> str:
        """Return the look of the chip."""
        return {"open": "accent", "sent_back": "warn", "published": "ok"}.get(self.value, "")
