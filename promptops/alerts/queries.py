"""Reads of destinations, their messages, and the conditions that hold now."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max, Q, QuerySet
from django.utils import timezone

from promptops.alerts.kinds import KINDS, label_of
from promptops.alerts.models import Alert, Delivery, Destination

FAILS_LONG = timedelta(hours=1)
"""After this time the overview shows that a destination cannot be reached."""
SECRETS = ("address_encrypted", "secret_encrypted", "previous_secret_encrypted")
LISTED_ALERTS = 50


def has_destinations() -> bool:
    """Return whether there is any destination, on or off."""
    return Destination.objects.exists()


@dataclass(frozen=True)
class DestinationRow:
    """A destination as the page lists it, with the time of its newest delivered message."""

    destination: Destination
    delivered_at: datetime | None

    @property
    def labels(self) -> str:
        """Return the labels of its kinds of alerts, or that it gets all."""
        if KINDS.keys() <= set(self.destination.alerts):
            return "All kinds"
        return ", ".join(label_of(name) for name in self.destination.alerts)

    @property
    def sends_to(self) -> str:
        """Return where it sends alerts, of several recipients the first and the number of the others."""
        first, *others = self.destination.recipients or [self.destination.sends_to]
        return f"{first} and {len(others)} more" if others else first

    @property
    def state(self) -> tuple[str, str]:
        """Return its state in a word or two, and the look of the chip."""
        if not self.destination.enabled:
            return ("turned off", "bad") if self.destination.off_reason else ("off", "")
        return ("failing", "warn") if self.destination.failing_since else ("on", "ok")


def destinations() -> list[DestinationRow]:
    """Return all destinations by name, in one query."""
    rows = Destination.objects.defer(*SECRETS).annotate(
        delivered_at=Max("deliveries__ended_at", filter=Q(deliveries__state="delivered"))
    )
    return [DestinationRow(row, row.delivered_at) for row in rows]


def open_alerts() -> list[Alert]:
    """Return the conditions that hold now, newest first."""
    return list(Alert.objects.filter(ended_at=None)[:LISTED_ALERTS])


def messages() -> QuerySet[Delivery]:
    """Return all messages with their destinations."""
    return Delivery.objects.select_related("destination").defer(*(f"destination__{name}" for name in SECRETS), "data")


def troubles(now: datetime | None = None) -> list[Destination]:
    """Return the destinations that PromptOps turned off, or that have been failing for long, for the overview."""
    long_ago = (now or timezone.now()) - FAILS_LONG
    failing = Q(enabled=True, failing_since__lte=long_ago) | Q(enabled=False) & ~Q(off_reason="")
    return list(Destination.objects.filter(failing).defer(*SECRETS))
