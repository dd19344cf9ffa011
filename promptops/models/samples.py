"""Inputs that texts are tried on."""

from django.db import models
from django.utils import timezone

from promptops.engine.types import PromptOperation
from promptops.enums import OPERATION_CHOICES


class Sample(models.Model):
    """An input of an operation that a smoke run takes, kept until somebody unpins it."""

    operation = models.CharField(max_length=20, choices=OPERATION_CHOICES)
    text = models.TextField()
    pinned_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["operation", "id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(operation__in=[operation.value for operation in PromptOperation]),
                name="sample_operation",
            )
        ]

    def __str__(self) -> str:
        return f"sample {self.pk}"
