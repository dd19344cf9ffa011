"""The closed sets of words about runs."""

from django.db import models


class RunSource(models.TextChoices):
    """What asked for a run."""

    PREVIEW = "preview", "Preview"
    TEST = "test", "Provider test"
    COMPARISON = "comparison", "Comparison"


class RunStatus(models.TextChoices):
    """How a run ended."""

    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELED = "canceled", "Canceled"
    BLOCKED = "blocked", "Blocked"  # by the safety filter


class SafetyMode(models.TextChoices):
    """What becomes of the safety filter's verdicts."""

    OFF = "off", "Off"
    SHADOW = "shadow", "Shadow"
    ENFORCE = "enforce", "Enforce"


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
