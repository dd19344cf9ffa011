"""Named lists of inputs. A comparison copies the inputs, so a set may change afterwards."""

import hashlib
import json
from collections.abc import Sequence

from django.db import models
from django.utils import timezone


class PromptSet(models.Model):
    """Distinct inputs to compare versions and providers on. A set fits any operation."""

    name = models.CharField(
        max_length=80, unique=True, error_messages={"unique": "A prompt set of that name exists. Choose another name."}
    )
    description = models.CharField(max_length=500, blank=True)
    inputs = models.JSONField(default=list, help_text="The texts, in order.")
    input_count = models.PositiveIntegerField(default=0)
    inputs_sha256 = models.CharField(max_length=64, editable=False)
    edition = models.PositiveIntegerField(default=1, help_text="One more with every change.")
    created_by = models.ForeignKey("User", models.PROTECT, null=True, blank=True, related_name="+")
    created_by_name = models.CharField(max_length=100)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name


def inputs_sha256(inputs: Sequence[str]) -> str:
    """Return the SHA-256 (hex) of the inputs as a JSON list in UTF-8, without blanks between its items."""
    return hashlib.sha256(json.dumps(list(inputs), separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()
