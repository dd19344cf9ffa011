"""The closed sets of the safety filter's configuration and training. Those of verdicts belong to `promptops.runs`."""

from django.db import models


class WhenUnavailable(models.TextChoices):
    """Choices for a text that the enforced filter cannot judge."""

    BLOCK = "block", "Block it (fail closed)"
    ALLOW = "allow", "Let it pass (fail open)"


class SafetyTermKind(models.TextChoices):
    """The two kinds of operators' terms."""

    ALLOW = "allow", "Allow"
    DENY = "deny", "Deny"


class TrainingState(models.TextChoices):
    """The states of a training of the safety filter's model."""

    RUNNING = "running", "Running"
    KEPT = "kept", "Kept"  # as a new model
    SAME = "same", "Same model"  # only its thresholds differ
    REFUSED = "refused", "Refused"
    FAILED = "failed", "Failed"
    CANCELED = "canceled", "Canceled"
