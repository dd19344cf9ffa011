"""The closed sets of words about the safety filter."""

from django.db import models


class WhenUnavailable(models.TextChoices):
    """What the enforced filter does with a text that it cannot judge."""

    BLOCK = "block", "Block it (fail closed)"
    ALLOW = "allow", "Let it pass (fail open)"


class SafetyTermKind(models.TextChoices):
    """What a term of the operators does."""

    ALLOW = "allow", "Allow"
    DENY = "deny", "Deny"


class TrainingState(models.TextChoices):
    """What became of a training of the safety filter's model."""

    RUNNING = "running", "Running"
    KEPT = "kept", "Kept"  # as a new model
    SAME = "same", "Same model"  # only its thresholds differ
    REFUSED = "refused", "Refused"
    FAILED = "failed", "Failed"
    CANCELED = "canceled", "Canceled"
