"""Levers for tests."""

from datetime import datetime, timedelta

from django.utils import timezone

from promptops.fleet.actions import levers
from promptops.fleet.enums import LeverKind
from promptops.fleet.models import Lever
from promptops.ledger.audit import SYSTEM, Actor


def in_an_hour() -> datetime:
    return timezone.now() + timedelta(hours=1)


def freeze(by: Actor = SYSTEM, note: str = "Bad prompts since the last release") -> Lever:
    """Freeze releases for an hour."""
    return levers.pull(LeverKind.FREEZE, by=by, note=note, expires_at=in_an_hour())


def pass_through(operation: str = "enhance", by: Actor = SYSTEM, note: str = "The model writes nonsense") -> Lever:
    """Let the inputs of an operation pass through for an hour."""
    return levers.pull(LeverKind.PASS_THROUGH, by=by, note=note, expires_at=in_an_hour(), operation=operation)


def let_expire(lever: Lever) -> None:
    """Set the clock of the lever back, so that it has expired a minute ago."""
    Lever.objects.filter(pk=lever.pk).update(expires_at=timezone.now() - timedelta(minutes=1))
