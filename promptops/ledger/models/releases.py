"""The tables of the live configuration (revision and settings) and of releases."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from promptops.prompts.content import SETTINGS


class LiveConfiguration(models.Model):
    """The single row (id 1) that every release updates first, so that releases wait for each other."""

    revision = models.PositiveIntegerField(default=0)
    timeout_ms = models.PositiveIntegerField(
        "time limit of a run", default=20_000, validators=[MinValueValidator(500), MaxValueValidator(600_000)]
    )
    temperature = models.FloatField(default=0.7, validators=SETTINGS["temperature"].validators)
    max_tokens = models.PositiveIntegerField(default=256, validators=SETTINGS["max_tokens"].validators)
    run_retention_days = models.PositiveIntegerField(
        "keep the text of runs for", default=30, validators=[MinValueValidator(1), MaxValueValidator(3650)]
    )
    settings_revision = models.PositiveIntegerField(default=0)
    key_check = models.TextField(blank=True, help_text="A known word, encrypted: tells a lost secret key.")

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="live_configuration_single_row")]

    def __str__(self) -> str:
        return f"r{self.revision}"


class Release(models.Model):
    """One revision: its change, author, time and reason, and the whole configuration from then on."""

    revision = models.PositiveIntegerField(primary_key=True)
    action = models.CharField(max_length=60)
    at = models.DateTimeField(default=timezone.now, db_index=True)
    user = models.ForeignKey("User", models.PROTECT, null=True, blank=True, related_name="+")
    user_name = models.CharField(max_length=100)
    note = models.CharField(max_length=500, blank=True)
    template = models.ForeignKey("Template", models.PROTECT, null=True, blank=True, related_name="releases")
    version = models.ForeignKey("Version", models.PROTECT, null=True, blank=True, related_name="releases")
    replaced = models.ForeignKey("Version", models.PROTECT, null=True, blank=True, related_name="+")
    # Made by `ledger.parts.configuration`; texts stay in the versions. Null: an old release, which did not store it.
    configuration = models.JSONField(
        null=True, help_text="What was live from this revision on, without texts and keys."
    )

    comparison = models.ForeignKey("Comparison", models.PROTECT, null=True, blank=True, related_name="releases")
    evidence = models.JSONField(null=True, blank=True, help_text="What the comparison said at that moment.")

    class Meta:
        ordering = ["-revision"]

    def __str__(self) -> str:
        return f"r{self.revision}"
