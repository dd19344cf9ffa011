"""The table of the machine interface: answers that a repeated request gets again."""

from django.db import models
from django.utils import timezone


class IdempotentAnswer(models.Model):
    """The answer to a change with an `Idempotency-Key`, stored in the transaction of the change."""

    token = models.ForeignKey("Token", models.CASCADE, related_name="+", db_index=False)
    key = models.CharField(max_length=200)
    request_sha256 = models.CharField(max_length=64)
    answer = models.JSONField()
    at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["token", "key"], name="idempotent_answer_unique")]

    def __str__(self) -> str:
        return f"answer to {self.key}"
