"""The closed sets of words about comparisons, trials and votes."""

from django.db import models


class ComparisonState(models.TextChoices):
    """Where a comparison is."""

    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    CANCELED = "canceled", "Canceled"
    DONE = "done", "Done"


class TrialState(models.TextChoices):
    """Where one trial of a comparison is."""

    WAITING = "waiting", "Waiting"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"


class Choice(models.TextChoices):
    """What a voter said of two answers; which arms these are is in the vote."""

    FIRST = "first", "The first"
    SECOND = "second", "The second"
    TIE = "tie", "Tie"
    NEITHER = "neither", "Neither is good"


class Side(models.TextChoices):
    """What a voter chose on the page, where the answers have sides and no names."""

    LEFT = "left", "A is better"
    RIGHT = "right", "B is better"
    TIE = "tie", "Tie"
    NEITHER = "neither", "Neither is good"
