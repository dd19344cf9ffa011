"""Sample inputs, on which people try texts."""

from django.db import models
from django.utils import timezone


class Sample(models.Model):
    """An input that smoke runs of an operation use, kept until somebody unpins it."""

    operation = models.CharField(max_length=20)
    text = models.TextField()
    pinned_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["operation", "id"]

    def __str__(self) -> str:
        return f"sample {self.pk}"
