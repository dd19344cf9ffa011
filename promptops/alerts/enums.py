"""The closed sets of words about destinations and deliveries. The kinds of alerts are in `kinds`."""

from django.db import models


class DestinationKind(models.TextChoices):
    """The way in which a destination gets alerts."""

    WEBHOOK = "webhook", "Webhook"
    EMAIL = "email", "E-mail"


class DeliveryState(models.TextChoices):
    """The state of a delivery. All but the first are final."""

    WAITING = "waiting", "Waiting"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Failed"
    CANCELED = "canceled", "Canceled"

    @property
    def tone(self) -> str:
        """Return the look of the chip."""
        return {"delivered": "ok", "failed": "bad", "waiting": "accent"}.get(self.value, "")
