"""The closed sets of words about the safety filter."""

from django.db import models


class SafetyMode(models.TextChoices):
    """What becomes of the safety filter's verdicts."""

    OFF = "off", "Off"
    SHADOW = "shadow", "Shadow"
    ENFORCE = "enforce", "Enforce"


class WhenUnavailable(models.TextChoices):
    """What the enforced filter does with a text that it cannot judge."""

    BLOCK = "block", "Block it (fail closed)"
    ALLOW = "allow", "Let it pass (fail open)"


class SafetyTermKind(models.TextChoices):
    """What a term of the operators does."""

    ALLOW = "allow", "Allow"
    DENY = "deny", "Deny"


class SafetySide(models.TextChoices):
    """Which text of a run was judged."""

    INPUT = "input", "Input"
    OUTPUT = "output", "Output"


class SafetyQueue(models.TextChoices):
    """Why a person should look at a verdict; "" means that nobody need."""

    BLOCKED = "blocked", "Blocked"
    BORDERLINE = "borderline", "Borderline"
    REPORTED = "reported", "Reported"


class SafetyReview(models.TextChoices):
    """What a person says of a verdict; "" means that nobody has looked yet."""

    RIGHT = "right", "Right"
    WRONG = "wrong", "Wrong"


class TrainingState(models.TextChoices):
    """What became of a training of the safety filter's model."""

    RUNNING = "running", "Running"
    KEPT = "kept", "Kept"  # as a new model
    SAME = "same", "Same model"  # only its thresholds differ
    REFUSED = "refused", "Refused"
    FAILED = "failed", "Failed"
    CANCELED = "canceled", "Canceled"
