"""Closed sets of runs and of the verdicts on them. Their values are stored."""

from django.db import models


class RunSource(models.TextChoices):
    """The origin of a run."""

    PREVIEW = "preview", "Preview"
    TEST = "test", "Provider test"
    COMPARISON = "comparison", "Comparison"
    API = "api", "Machine"  # a run that a machine asked for with its token


class RunStatus(models.TextChoices):
    """The end of a run or of an attempt."""

    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELED = "canceled", "Canceled"
    BLOCKED = "blocked", "Blocked"  # by the safety filter
    UNCHANGED = "unchanged", "Input unchanged"  # the input goes on: nobody answered, or a lever says so (only of a run)


class ContractOutcome(models.TextChoices):
    """The ways in which a run met its contract, with the values of `engine.contracts.contract_outcome`."""

    AT_ONCE = "at_once", "Answered at once"
    FELL_BACK = "fell_back", "Answered after a fallback"
    REPAIRED = "repaired", "Repaired"
    BREACHED = "breached", "Breached"


class ExpiryKind(models.TextChoices):
    """The kinds of passes over old runs."""

    ERASE = "erase", "Erase the texts"
    DELETE = "delete", "Delete the runs"


class SafetyMode(models.TextChoices):
    """The effect of the safety filter's verdicts."""

    OFF = "off", "Off"
    SHADOW = "shadow", "Shadow"
    ENFORCE = "enforce", "Enforce"


class SafetySide(models.TextChoices):
    """The text of a run that was judged."""

    INPUT = "input", "Input"
    OUTPUT = "output", "Output"


class SafetyQueue(models.TextChoices):
    """The reason for a person to review a verdict; "" if no review is needed."""

    BLOCKED = "blocked", "Blocked"
    BORDERLINE = "borderline", "Borderline"
    REPORTED = "reported", "Reported"


class SafetyReview(models.TextChoices):
    """The review of a verdict; "" if there is none yet."""

    RIGHT = "right", "Right"
    WRONG = "wrong", "Wrong"
    DISPUTED = "disputed", "Disputed"  # two people disagree, and nobody has settled it
