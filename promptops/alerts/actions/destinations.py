"""Changes of destinations and of the rules of alerts, by administrators. Each is in the audit, without secrets."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from promptops.alerts.enums import DeliveryState, DestinationKind
from promptops.alerts.kinds import KINDS
from promptops.alerts.models import WAITING, AlertRules, Delivery, Destination, EventCursor
from promptops.alerts.signing import new_secret
from promptops.engine.addresses import allow_list, private_refusal_of_url
from promptops.ledger import audit, registry
from promptops.ledger.audit import SYSTEM, Actor
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import AuditHead
from promptops.ledger.registry import Action
from promptops.platform import crypto

MOST_DESTINATIONS = 50
MOST_RECIPIENTS = 20
MOST_ADDRESS_CHARACTERS = 2_000
OVERLAP = timedelta(hours=24)
"""Seconds in which the secret before a rotation signs, too."""
LOST = "Its address and secret were lost with the secret key. Enter the address again, and rotate the secret."
CHANGED = "Someone changed this destination. Reload the page to see the changes, then make yours."
BAD_ADDRESS = "Give an address such as https://hooks.example.org/promptops, without a user name and a fragment."

registry.noun("alerts", "Alerts")
registry.object_kind("destination", "Alert destination", url=lambda entry: reverse("alerts"))
registry.value_labels(
    {
        "sends_to": "Sends to",
        "alerts": "Alerts",
        "hold_minutes": "Minimum duration (min)",
        "address_changed": "Address changed",
        "error_percent": "Error rate (%)",
        "error_minutes": "Error rate: window (min)",
        "error_runs": "Error rate: least runs",
    }
)
registry.register(
    Action(
        "alerts.added",
        "{actor} added the alert destination {object}",
        when="a webhook or e-mail recipients were added",
        object="destination",
    ),
    Action(
        "alerts.changed",
        "{actor} changed the alert destination {object}",
        when="name, address, recipients, kinds of alerts or minimum duration of a destination changed",
        object="destination",
    ),
    Action(
        "alerts.turned_on",
        "{actor} turned the alert destination {object} on",
        when="a destination was turned on",
        object="destination",
    ),
    Action(
        "alerts.turned_off",
        "{actor} turned the alert destination {object} off",
        when="a destination was turned off",
        object="destination",
    ),
    Action(
        "alerts.given_up",
        "{actor} turned the alert destination {object} off: {after[why]}",
        when="PromptOps turned a destination off, because its receiver answered 410 or failed for 2 days",
        object="destination",
    ),
    Action(
        "alerts.secret_rotated",
        "{actor} rotated the secret of the alert destination {object}",
        when="a webhook got a new secret",
        object="destination",
    ),
    Action(
        "alerts.tested",
        "{actor} sent a test to the alert destination {object}",
        when="a test message was sent to a destination",
        object="destination",
        is_change=False,
    ),
    Action(
        "alerts.removed",
        "{actor} removed the alert destination {object}",
        when="a destination was removed, with its messages",
        object="destination",
    ),
    Action(
        "alerts.rules_changed",
        "{actor} changed when the error rate of runs is an alert",
        when="the threshold of the error rate, its window or its least number of runs changed",
    ),
)


@dataclass(frozen=True)
class DestinationFields:
    """The values that an administrator sets. `address` is a webhook's; "" keeps the stored one."""

    name: str
    kind: str
    alerts: tuple[str, ...]
    hold_minutes: int = 1
    address: str = ""
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rules:
    """The error rate of runs that is an alert: at least `error_percent` of at least `error_runs` runs in a window."""

    error_percent: int
    error_minutes: int
    error_runs: int


@transaction.atomic
def add(fields: DestinationFields, *, by: Actor) -> tuple[Destination, str]:
    """Add a destination, and return it with its secret ("" for e-mail), which is never shown again.

    Alerts count from now on. Raises ValidationError for a field, and Refused if there are too many destinations.
    """
    _lock()
    count = Destination.objects.count()
    if count >= MOST_DESTINATIONS:
        raise Refused(f"There are {MOST_DESTINATIONS} destinations. Remove one that nobody needs.")
    secret = new_secret() if fields.kind == DestinationKind.WEBHOOK else ""
    destination = Destination(kind=fields.kind, secret_encrypted=crypto.encrypt(secret) if secret else "")
    _set(destination, fields)
    destination.save(force_insert=True)
    audit.record("alerts.added", by=by, object=destination, after=_audit_values(destination))
    if not count:
        _begin_at_newest()
    return destination, secret


@transaction.atomic
def change(destination: Destination, fields: DestinationFields, *, by: Actor, expected: int) -> Destination:
    """Change a destination. `expected` is the edition that the form was filled from (else Stale)."""
    row = _locked(destination)
    if row.edition != expected:
        raise Stale(CHANGED)
    before, address = _audit_values(row), row.address_encrypted
    _set(row, fields)
    after = _audit_values(row)
    if row.address_encrypted != address:
        after["address_changed"] = True
    if before == after:
        raise Refused("No changes to save.")
    row.edition += 1
    row.save()
    audit.record("alerts.changed", by=by, object=row, before=before, after=after)
    return row


@transaction.atomic
def set_enabled(destination: Destination, enabled: bool, *, by: Actor) -> Destination:
    """Turn a destination on or off. What waits for one that is turned off is canceled. Raises Stale if it is so."""
    row = _locked(destination)
    if row.enabled == enabled:
        raise Stale(f"{row.name} is {'on' if enabled else 'off'} already.")
    if enabled and row.kind == DestinationKind.WEBHOOK and not (row.address_encrypted and row.secret_encrypted):
        raise Refused(LOST)
    row.enabled, row.off_reason, row.failing_since = enabled, "", None
    row.save(update_fields=["enabled", "off_reason", "failing_since"])
    if enabled:  # what holds and was not told, because the destination was off, is told now
        row.deliveries.filter(state=DeliveryState.CANCELED, alert__isnull=False, alert__ended_at=None).delete()
    else:
        _cancel_waiting(row)
    audit.record("alerts.turned_on" if enabled else "alerts.turned_off", by=by, object=row)
    return row


@transaction.atomic
def give_up(destination: Destination, why: str) -> bool:
    """Turn a destination off because its receiver cannot be reached, and return whether it was on."""
    why = why[: Destination._meta.get_field("off_reason").max_length]
    if not Destination.objects.filter(pk=destination.pk, enabled=True).update(enabled=False, off_reason=why):
        return False
    _cancel_waiting(destination)
    audit.record("alerts.given_up", by=SYSTEM, object=destination, after={"why": why})
    return True


@transaction.atomic
def rotate_secret(destination: Destination, *, by: Actor) -> tuple[Destination, str]:
    """Give a webhook a new secret, and return both. The secret before signs too for a day."""
    row = _locked(destination)
    if row.kind != DestinationKind.WEBHOOK:
        raise Refused("Only a webhook has a secret.")
    secret = new_secret()
    row.previous_secret_encrypted = row.secret_encrypted
    row.previous_until = timezone.now() + OVERLAP if row.secret_encrypted else None
    row.secret_encrypted = crypto.encrypt(secret)
    row.save(update_fields=["previous_secret_encrypted", "previous_until", "secret_encrypted"])
    audit.record("alerts.secret_rotated", by=by, object=row)
    return row, secret


@transaction.atomic
def remove(destination: Destination, *, by: Actor, note: str = "") -> None:
    """Remove a destination, its secret and its messages."""
    row = _locked(destination)
    audit.record("alerts.removed", by=by, object=row, before=_audit_values(row), note=note)
    row.delete()


@transaction.atomic
def change_rules(rules: Rules, *, by: Actor, expected: int) -> AlertRules:
    """Change when the error rate of runs is an alert. `expected` is the edition that the form was filled from."""
    _lock()
    row = AlertRules.objects.filter(pk=1).first() or AlertRules(pk=1)
    if row.edition != expected:
        raise Stale("Someone changed the error rate. Reload the page to see the changes, then make yours.")
    wanted = asdict(rules)
    before = {name: getattr(row, name) for name in wanted}
    if before == wanted:
        raise Refused("No changes to save.")
    for name, value in wanted.items():
        setattr(row, name, value)
    row.edition += 1
    row.full_clean()
    row.save()
    audit.record("alerts.rules_changed", by=by, before=before, after=wanted)
    return row


def renew_secrets() -> int:
    """Encrypt addresses and secrets with the current secret key, in the transaction of the caller's entry.

    A destination whose address or secret no known key decrypts loses both, and is turned off. Return how many did.
    """
    lost = 0
    for row in Destination.objects.filter(kind=DestinationKind.WEBHOOK):
        try:
            row.address_encrypted, row.secret_encrypted, row.previous_secret_encrypted = (
                crypto.renew(secret) if secret else ""
                for secret in (row.address_encrypted, row.secret_encrypted, row.previous_secret_encrypted)
            )
        except crypto.UnreadableSecret:
            row.address_encrypted = row.secret_encrypted = row.previous_secret_encrypted = ""
            row.enabled, row.off_reason = False, LOST
            _cancel_waiting(row)
            lost += 1
        row.save()
    return lost


def private_hosts() -> Any:
    """Return the private hosts that webhooks may reach, or None. Raises ValueError for an invalid setting."""
    return allow_list(settings.WEBHOOK_PRIVATE_HOSTS)


def clean_address(address: str) -> str:
    """Return a webhook's address. Raises ValidationError for one that cannot be called or may not be."""
    address = address.strip()
    try:
        parts = urlsplit(address)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    is_plain = address.isascii() and address.isprintable() and " " not in address
    if not is_usable or not is_plain or "@" in parts.netloc or parts.fragment or len(address) > MOST_ADDRESS_CHARACTERS:
        raise ValidationError({"address": BAD_ADDRESS})
    if problem := private_refusal_of_url(address, private_hosts()):
        what_to_do = " An operator of the server can allow it in WEBHOOK_PRIVATE_HOSTS." if "private" in problem else ""
        raise ValidationError({"address": f"{problem}{what_to_do}"})
    return address


def clean_recipients(recipients: Collection[str]) -> list[str]:
    """Return the addresses without blanks and repetitions. Raises ValidationError for an invalid one."""
    cleaned = list(dict.fromkeys(each.strip() for each in recipients if each.strip()))
    if not 1 <= len(cleaned) <= MOST_RECIPIENTS:
        raise ValidationError({"recipients": f"Give 1 to {MOST_RECIPIENTS} e-mail addresses, one a line."})
    for each in cleaned:
        try:
            validate_email(each)
        except ValidationError:
            raise ValidationError({"recipients": f"{each[:80]} is not an e-mail address."}) from None
    return cleaned


def _set(destination: Destination, fields: DestinationFields) -> None:
    destination.name = " ".join(fields.name.split())
    destination.hold_minutes = fields.hold_minutes
    destination.alerts = [name for name in KINDS if name in fields.alerts]
    if not destination.alerts:
        raise ValidationError({"alerts": "Choose at least one kind of alert."})
    if destination.kind == DestinationKind.EMAIL:
        destination.recipients = clean_recipients(fields.recipients)
    elif fields.address or not destination.address_encrypted:
        address = clean_address(fields.address)
        if not destination.address_encrypted or address != crypto.decrypt(destination.address_encrypted):
            destination.address_encrypted = crypto.encrypt(address)
        parts = urlsplit(address)
        destination.origin = f"{parts.scheme}://{parts.netloc}"[:300]
    others = Destination.objects.filter(name__iexact=destination.name).exclude(pk=destination.pk)
    if others.exists():
        raise ValidationError({"name": "A destination of that name exists. Choose another name."})
    destination.full_clean(exclude=["previous_until"])


def _begin_at_newest() -> None:
    """Let events count from now on: without destinations nobody looked at them."""
    for kind in KINDS.values():
        if kind.since is not None:
            EventCursor.objects.update_or_create(kind=kind.name, defaults={"number": kind.newest()})


def _cancel_waiting(destination: Destination) -> None:
    Delivery.objects.filter(WAITING, destination=destination).update(
        state=DeliveryState.CANCELED, ended_at=timezone.now(), answer="The destination was turned off."
    )


def _lock() -> None:
    AuditHead.objects.select_for_update().get(pk=1)


def _locked(destination: Destination) -> Destination:
    _lock()
    row = Destination.objects.filter(pk=destination.pk).first()
    if row is None:
        raise Stale(f"{destination.name} was removed.")
    return row


def _audit_values(destination: Destination) -> dict[str, Any]:
    return {
        "name": destination.name,
        "sends_to": destination.sends_to,
        "alerts": destination.alerts,
        "hold_minutes": destination.hold_minutes,
    }
