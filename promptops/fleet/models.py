"""The tables of servers, their acknowledgements and levers. No heartbeat writes: `fleet.reports` collects them."""

from django.db import models
from django.utils import timezone

from promptops.engine.operations import MAX_NAME_CHARACTERS
from promptops.fleet.enums import LeverKind, Outcome, ReportedState, ServerKind


class Server(models.Model):
    """A process that follows the live configuration, as it last reported itself. Two instances may share a name."""

    name = models.CharField(max_length=100)
    instance = models.CharField(max_length=64, help_text="Names one life of the process.")
    kind = models.CharField(max_length=10, choices=ServerKind.choices)
    version = models.CharField(max_length=50, blank=True)
    labels = models.JSONField(default=dict)
    address = models.CharField(max_length=64, blank=True)
    token = models.PositiveBigIntegerField(null=True, help_text="The id of the token; null for PromptOps itself.")
    first_heard_at = models.DateTimeField(default=timezone.now)
    connected_at = models.DateTimeField(default=timezone.now)
    heard_at = models.DateTimeField(default=timezone.now)
    is_connected = models.BooleanField(default=True)
    revision = models.PositiveIntegerField(null=True)
    epoch = models.CharField(max_length=32, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    since = models.DateTimeField(null=True, help_text="When it began to run this content.")
    has_other_content = models.BooleanField(default=False, help_text="Its hash is not that of its revision.")
    state = models.CharField(max_length=10, choices=ReportedState.choices)
    refused_revision = models.PositiveIntegerField(null=True)
    refused_at = models.DateTimeField(null=True)
    refusal = models.CharField(max_length=500, blank=True)
    drift = models.CharField(max_length=500, blank=True)
    drifted_at = models.DateTimeField(null=True)
    runs_a_minute = models.FloatField(null=True)
    is_filtered = models.BooleanField(default=False, help_text="It judges texts with the safety filter.")
    changed_at = models.DateTimeField(default=timezone.now, db_index=True, help_text="Heartbeats leave it.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "instance"], name="server_instance")]
        ordering = ["name", "pk"]

    def __str__(self) -> str:
        return self.name


class Acknowledgement(models.Model):
    """The reaction of one server to one revision. The table is bounded (`actions.servers.prune`)."""

    revision = models.PositiveIntegerField()
    server = models.CharField(max_length=100)
    instance = models.CharField(max_length=64)
    kind = models.CharField(max_length=10, choices=ServerKind.choices)
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    at = models.DateTimeField()
    seconds = models.FloatField(help_text="After the release.")
    was_away = models.BooleanField(default=False, help_text="It connected after the release.")
    why = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["revision", "server", "instance"], name="acknowledgement_of_instance")
        ]

    def __str__(self) -> str:
        return f"{self.server}: r{self.revision} {self.outcome}"


class Lever(models.Model):
    """An incident lever that somebody pulled. It holds until `expires_at`, and is live until a release ends it."""

    kind = models.CharField(max_length=12, choices=LeverKind.choices)
    operation = models.CharField(max_length=MAX_NAME_CHARACTERS, blank=True, help_text="Of a pass-through.")
    note = models.CharField(max_length=500)
    user = models.ForeignKey("User", models.PROTECT, null=True, blank=True, related_name="+")
    user_name = models.CharField(max_length=100)
    pulled_at = models.DateTimeField(default=timezone.now)
    pulled_revision = models.PositiveIntegerField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_revision = models.PositiveIntegerField(null=True, blank=True)
    ended_by = models.CharField(max_length=100, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "operation"], condition=models.Q(ended_at=None), name="lever_pulled_once"
            )
        ]

    def __str__(self) -> str:
        return f"{LeverKind(self.kind).label.lower()} of {self.operation}" if self.operation else "freeze"
