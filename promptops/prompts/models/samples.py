"""Sample inputs, on which people try texts."""

from django.db import models
from django.utils import timezone

from promptops.engine.operations import MAX_NAME_CHARACTERS


class Sample(models.Model):
    """An input that smoke runs of an operation use, kept until somebody unpins it."""

    operation = models.CharField(max_length=MAX_NAME_CHARACTERS)
    text = models.TextField()
    pinned_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["operation", "id"]

    def __str__(self) -> str:
        return f"sample {self.pk}"
