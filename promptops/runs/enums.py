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
