"""Destinations and receivers of tests."""

from typing import Any

from promptops.alerts.actions import destinations
from promptops.alerts.actions.destinations import DestinationFields
from promptops.alerts.kinds import KINDS
from promptops.alerts.models import Destination
from promptops.ledger.audit import Actor

ADDRESS = "https://hooks.example.org/services/T0/B0/topsecretpath"


def save_webhook(by: Actor, name: str = "On call", address: str = ADDRESS, **fields: Any) -> Destination:
    """Save a webhook that gets all alerts at once."""
    values = {"kind": "webhook", "alerts": tuple(KINDS), "hold_minutes": 0, "address": address} | fields
    return destinations.add(DestinationFields(name=name, **values), by=by)[0]


def save_email(by: Actor, name: str = "Team", **fields: Any) -> Destination:
    """Save e-mail recipients that get all alerts at once."""
    return save_webhook(
        by, name, "", **{"kind": "email", "recipients": ("ada@example.org", "eddie@example.org")} | fields
    )
