"""The tables of the live configuration (revision and settings) and of releases."""

from contextlib import suppress
from secrets import token_hex
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from promptops.ledger.configurations import WHOLE_EVERY, DamagedConfiguration, pack, pack_changes, unpack
from promptops.prompts.content import SETTINGS

DELETED_TOO_EARLY = (
    "Runs are deleted before their texts are erased. Enter at least the number of days that texts are kept."
)


def new_epoch() -> str:
    """Return a random name for a line of history: the revisions and entries that follow each other in a database."""
    return token_hex(8)


class LiveConfiguration(models.Model):
    """The single row (id 1) that every release updates first, so that releases wait for each other."""

    revision = models.PositiveIntegerField(default=0)
    epoch = models.CharField(
        max_length=32, default=new_epoch, editable=False, help_text="Numbers are comparable only within one epoch."
    )
    pins_from = models.PositiveIntegerField(
        default=0, editable=False, help_text="The newest revision of this epoch that applies to pinned sessions too."
    )
    timeout_ms = models.PositiveIntegerField(
        "time limit of a run", default=20_000, validators=[MinValueValidator(500), MaxValueValidator(600_000)]
    )
    temperature = models.FloatField(default=0.7, validators=SETTINGS["temperature"].validators)
    max_tokens = models.PositiveIntegerField(default=256, validators=SETTINGS["max_tokens"].validators)
    run_retention_days = models.PositiveIntegerField(
        "keep the text of runs for", default=30, validators=[MinValueValidator(1), MaxValueValidator(3650)]
    )
    run_deletion_days = models.PositiveIntegerField(
        "delete runs after",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(3650)],
        help_text="Days; None never deletes a run.",
    )
    settings_revision = models.PositiveIntegerField(default=0)
    key_check = models.TextField(blank=True, help_text="A known word, encrypted: tells a lost secret key.")

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="live_configuration_single_row")]

    def __str__(self) -> str:
        return f"r{self.revision}"

    def clean(self) -> None:
        """Refuse to delete runs whose texts are still to be kept."""
        if self.run_deletion_days is not None and self.run_deletion_days < self.run_retention_days:
            raise ValidationError({"run_deletion_days": DELETED_TOO_EARLY})


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
    packed_configuration = models.BinaryField(
        null=True, help_text="What was live from this revision on, without texts and keys: see ledger.configurations."
    )
    changes_since = models.PositiveIntegerField(
        null=True, help_text="The revision whose whole configuration these are changes of. Null: it is whole itself."
    )

    overrides_pins = models.BooleanField(default=False, help_text="It applies to pinned sessions too.")
    comparison = models.ForeignKey("Comparison", models.PROTECT, null=True, blank=True, related_name="releases")
    evidence = models.JSONField(null=True, blank=True, help_text="What the comparison said at that moment.")

    class Meta:
        ordering = ["-revision"]

    def __str__(self) -> str:
        return f"r{self.revision}"

    @property
    def configuration(self) -> dict[str, Any] | None:
        """Read what was live from this revision on; None if it is not stored. Raises DamagedConfiguration."""
        if self.packed_configuration is None:
            return None
        whole = None
        if self.changes_since is not None:
            base = Release.objects.filter(pk=self.changes_since, changes_since=None)
            whole = bytes(base.values_list("packed_configuration", flat=True).first() or b"")
        return unpack(bytes(self.packed_configuration), whole)

    def store(self, configuration: dict[str, Any]) -> None:
        """Set what is live from this revision on: its changes, if a whole one is near. Saving is up to the caller."""
        near = Release.objects.filter(pk__gt=self.pk - WHOLE_EVERY, pk__lt=self.pk, changes_since=None)
        whole = near.exclude(packed_configuration=None).only("packed_configuration").first()
        if whole is not None:
            packed = bytes(whole.packed_configuration or b"")
            with suppress(DamagedConfiguration):
                changes = pack_changes(configuration, packed)
                if len(changes) < len(packed):
                    self.packed_configuration, self.changes_since = changes, whole.pk
                    return
        self.packed_configuration, self.changes_since = pack(configuration), None
