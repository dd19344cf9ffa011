"""The closed sets of the safety filter's configuration and training. Those of verdicts belong to `promptops.runs`."""

from django.db import models


class WhenUnavailable(models.TextChoices):
    """Choices for a text that the enforced filter cannot judge."""

    BLOCK = "block", "Block it (fail closed)"
    ALLOW = "allow", "Let it pass (fail open)"


class SecondStageMode(models.TextChoices):
    """The effect of the second stage's verdicts. It judges only while the filter's own mode is not off."""

    OFF = "off", "Off"
    SHADOW = "shadow", "Shadow: record its verdicts"
    ENFORCE = "enforce", "Enforce: its verdicts count"


class SecondStageScope(models.TextChoices):
    """The texts that the second stage judges."""

    DOUBTFUL = "doubtful", "Texts that the first stage doubts or can't read"
    ALL = "all", "All texts"


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


class PairQueue(models.TextChoices):
    """The queues of verdicts that two people review, beside those of `SafetyQueue`."""

    SECOND = "second", "Second look"
    DISPUTED = "disputed", "Disagreements"


class QueueOrder(models.TextChoices):
    """The orders of the review queue. `safety.queries.review_queue.SORTED_BY` says what each sorts by."""

    NEWEST = "newest", "Newest first"
    UNCERTAIN = "uncertain", "Closest to a threshold first"
    DISAGREEING = "disagreeing", "Disagreeing stages first"
