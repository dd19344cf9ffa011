"""Leases: one holder at a time, by the clock of the database."""

from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from promptops.platform import leases
from promptops.platform.models import Lease

pytestmark = pytest.mark.django_db


def pass_time(seconds: float) -> None:
    """Let this number of seconds pass for the leases."""
    Lease.objects.update(until=F("until") - timedelta(seconds=seconds))


def test_one_holder_has_the_lease_until_it_ends():
    assert leases.take("work", holder="one")
    assert not leases.take("work", holder="two")
    assert leases.take("other work", holder="two")
    pass_time(leases.SECONDS + 1)
    assert leases.take("work", holder="two")
    assert not leases.take("work", holder="one")


def test_a_renewed_lease_goes_on():
    assert leases.take("work", holder="one")
    pass_time(leases.SECONDS - 5)
    assert leases.take("work", holder="one")
    pass_time(leases.SECONDS - 5)
    assert not leases.take("work", holder="two")


def test_only_the_holder_gives_the_lease_back():
    assert leases.take("work", holder="one")
    leases.release("work", holder="two")
    assert not leases.take("work", holder="two")
    leases.release("work", holder="one")
    assert leases.take("work", holder="two")


def test_the_clock_of_the_process_decides_nothing(monkeypatch):
    assert leases.take("work", holder="one")
    later = timezone.now() + timedelta(days=1)
    monkeypatch.setattr(timezone, "now", lambda: later)
    assert not leases.take("work", holder="two")
