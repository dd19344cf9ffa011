"""The closed sets of values of comparisons, trials and votes."""

from django.db import models


class ComparisonState(models.TextChoices):
    """The state of a comparison."""

    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    CANCELED = "canceled", "Canceled"
    DONE = "done", "Done"


class TrialState(models.TextChoices):
    """The state of one trial of a comparison."""

    WAITING = "waiting", "Waiting"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"


class Choice(models.TextChoices):
    """A voter's choice between two arms as it is stored; the vote names the arms."""

    FIRST = "first", "The first"
    SECOND = "second", "The second"
    TIE = "tie", "Tie"
    NEITHER = "neither", "Neither is good"


class Side(models.TextChoices):
    """A voter's choice on the page, where answers have sides but no names."""

    LEFT = "left", "A is better"
    RIGHT = "right", "B is better"
    TIE = "tie", "Tie"
    NEITHER = "neither", "Neither is good"
