"""The tables of alerts: destinations, conditions that hold or held, deliveries, and what was already read."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from promptops.alerts.enums import DeliveryState, DestinationKind

WAITING = models.Q(state=DeliveryState.WAITING)
MOST_HOLD_MINUTES = 1_440
LONGEST_NAME = 60


class Destination(models.Model):
    """Somewhere outside that gets alerts. The address of a webhook may hold a secret, so it is stored encrypted too."""

    name = models.CharField(
        max_length=LONGEST_NAME,
        unique=True,
        error_messages={"unique": "A destination of that name exists. Choose another name."},
    )
    kind = models.CharField(max_length=10, choices=DestinationKind)
    address_encrypted = models.TextField(blank=True, help_text="Of a webhook.")
    origin = models.CharField(max_length=300, blank=True, help_text="Scheme, host and port of the address.")
    secret_encrypted = models.TextField(blank=True)
    previous_secret_encrypted = models.TextField(blank=True, help_text="It signs too until `previous_until`.")
    previous_until = models.DateTimeField(null=True, blank=True)
    recipients = models.JSONField(default=list, blank=True)
    alerts = models.JSONField(default=list, help_text="Names of the kinds of alerts.")
    hold_minutes = models.PositiveIntegerField(
        "minimum duration of a condition", default=1, validators=[MaxValueValidator(MOST_HOLD_MINUTES)]
    )
    enabled = models.BooleanField(default=True)
    off_reason = models.CharField(max_length=300, blank=True, help_text="Why PromptOps turned it off.")
    failing_since = models.DateTimeField(null=True, blank=True)
    edition = models.PositiveIntegerField(default=1, help_text="Counts the changes, for a form to know its own.")
    made_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def sends_to(self) -> str:
        """Return where it sends alerts, in words without a secret."""
        return self.origin if self.kind == DestinationKind.WEBHOOK else ", ".join(self.recipients)


class Alert(models.Model):
    """A condition that holds, or held from `begun_at` to `ended_at`."""

    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=100, blank=True, help_text="Names the object, such as a provider.")
    title = models.CharField(max_length=500)
    facts = models.JSONField(default=dict)
    page = models.CharField(max_length=300, help_text="The path of the page that shows it.")
    count = models.PositiveIntegerField(default=1)
    told = models.PositiveIntegerField(default=0, help_text="The count in the newest message; 0 before the first.")
    begun_at = models.DateTimeField()
    clear_since = models.DateTimeField(null=True, blank=True, help_text="It has not held since then.")
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["kind", "key"], condition=models.Q(ended_at=None), name="alert_open_once")
        ]
        indexes = [models.Index(fields=["ended_at"], name="alert_ended")]

    def __str__(self) -> str:
        return self.title


class Delivery(models.Model):
    """One message to one destination. A row that waits is due at `next_at`; a claim moves that time ahead."""

    destination = models.ForeignKey(Destination, models.CASCADE, related_name="deliveries")
    alert = models.ForeignKey(Alert, models.CASCADE, null=True, blank=True, related_name="deliveries")
    after = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="+", help_text="Is sent first, or given up."
    )
    cause = models.CharField(max_length=80, help_text="What the message is about: no destination gets it twice.")
    message_id = models.CharField(max_length=60)
    type = models.CharField(max_length=80)
    title = models.CharField(max_length=520)
    data = models.JSONField(default=dict)
    page = models.CharField(max_length=300, blank=True)
    happened_at = models.DateTimeField()
    made_at = models.DateTimeField(default=timezone.now)
    state = models.CharField(max_length=10, choices=DeliveryState, default=DeliveryState.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    answer = models.CharField(max_length=300, blank=True, help_text="What the receiver answered last, in short.")
    is_test = models.BooleanField(default=False)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["destination", "cause"], name="delivery_once")]
        indexes = [models.Index(fields=["next_at"], name="delivery_due", condition=WAITING)]

    def __str__(self) -> str:
        return self.title

    @property
    def state_word(self) -> DeliveryState:
        """Return the state with its label and look."""
        return DeliveryState(self.state)


class EventCursor(models.Model):
    """The newest event of a kind that was already queued."""

    kind = models.CharField(max_length=40, primary_key=True)
    number = models.PositiveBigIntegerField()

    def __str__(self) -> str:
        return f"{self.kind}: {self.number}"


class AlertRules(models.Model):
    """The error rate of runs that is an alert: a single row (id 1), or the defaults without it."""

    error_percent = models.PositiveIntegerField(
        "share of runs without an answer", default=25, validators=[MinValueValidator(1), MaxValueValidator(100)]
    )
    error_minutes = models.PositiveIntegerField(
        "window", default=10, validators=[MinValueValidator(1), MaxValueValidator(1_440)]
    )
    error_runs = models.PositiveIntegerField(
        "least runs", default=20, validators=[MinValueValidator(1), MaxValueValidator(5_000)]
    )
    edition = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="alert_rules_single_row")]

    def __str__(self) -> str:
        return "the rules of alerts"
