"""The tables of the audit: entries, the head of their chain, and counted exports."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper


class AuditHead(models.Model):
    """The single row (id 1) with the newest entry's number and hash. Writers wait for each other on this row."""

    seq = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, default="0" * 64)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="audit_head_single_row")]

    def __str__(self) -> str:
        return f"audit entry {self.seq}"


class ExportTally(models.Model):
    """The exports of a person since the last audit entry about them (`ledger.actions.exports`)."""

    user = models.ForeignKey("User", models.CASCADE, related_name="+")
    action = models.CharField(max_length=60)
    since = models.DateTimeField(null=True, help_text="When the last entry was made.")
    count = models.PositiveIntegerField(default=0)
    names = models.JSONField(default=list)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "action"], name="export_tally_unique")]

    def __str__(self) -> str:
        return f"{self.count} x {self.action}"


class EntryNumberField(models.PositiveBigIntegerField):
    """A number of 64 bits that is also SQLite's row number.

    Only a column of type "integer" is an alias of SQLite's rowid (https://www.sqlite.org/rowidtable.html). With any
    other type a row has two keys, and INSERT OR REPLACE by the second one passes the triggers.
    """

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        return "integer" if connection.vendor == "sqlite" else super().db_type(connection)


class AuditEntry(models.Model):
    """One entry. `sha256` covers all other fields, and with `previous_sha256` the entry before it (`ledger.audit`)."""

    seq = EntryNumberField(primary_key=True)
    at = models.DateTimeField(db_index=True)
    action = models.CharField(max_length=60)
    actor = models.ForeignKey("User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    actor_name = models.CharField(max_length=100)
    address = models.CharField(max_length=64, blank=True)
    object_type = models.CharField(max_length=40, blank=True)
    object_id = models.CharField(max_length=40, blank=True)
    object_name = models.CharField(max_length=200, blank=True)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    note = models.CharField(max_length=500, blank=True)
    revision = models.PositiveIntegerField(null=True, blank=True)
    # Null and without a constraint: SQLite adds and removes such a column without copying the table and its triggers.
    token = models.ForeignKey(
        "Token", models.PROTECT, null=True, blank=True, related_name="+", db_index=False, db_constraint=False
    )
    request_id = models.CharField(max_length=64, null=True, blank=True)  # noqa: DJ001
    previous_sha256 = models.CharField(max_length=64)
    sha256 = models.CharField(max_length=64)

    class Meta:
        ordering = ["-seq"]
        # One for each filter of the page, in the order of the page, so that no filter needs sorting.
        indexes = [
            models.Index(fields=["action", "seq"], name="audit_action"),
            models.Index(fields=["actor", "seq"], name="audit_actor"),
            models.Index(fields=["actor_name", "seq"], name="audit_system", condition=models.Q(actor=None)),
            models.Index(fields=["object_type", "seq"], name="audit_object_type"),
            models.Index(fields=["revision"], condition=models.Q(revision__isnull=False), name="audit_of_revision"),
        ]

    def __str__(self) -> str:
        return f"audit entry {self.seq}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise ValidationError("An audit entry cannot be changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        raise ValidationError("An audit entry cannot be deleted.")
