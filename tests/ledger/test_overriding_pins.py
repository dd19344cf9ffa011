"""Releases that apply to pinned sessions too."""

import pytest

from promptops.ledger.actions.backups import record_restore
from promptops.ledger.models import LiveConfiguration, Release
from promptops.ledger.releases import overriding_pins
from tests.factories import publish

pytestmark = pytest.mark.django_db


def pins_from() -> int:
    return LiveConfiguration.objects.get(pk=1).pins_from


def test_a_release_raises_the_number_only_if_it_is_wanted():
    publish("enhance", "First.")
    assert pins_from() == 0
    with overriding_pins(wanted=True):
        publish("enhance", "Second.")
    overriding = Release.objects.latest("revision")
    assert (pins_from(), overriding.overrides_pins) == (overriding.revision, True)
    with overriding_pins(wanted=False):
        publish("enhance", "Third.")
    assert pins_from() == overriding.revision
    assert not Release.objects.latest("revision").overrides_pins


def test_an_error_ends_it():
    with pytest.raises(ZeroDivisionError), overriding_pins(wanted=True):
        raise ZeroDivisionError
    publish("enhance", "First.")
    assert pins_from() == 0


def test_a_restore_begins_without_it():
    """Otherwise a number from before could move sessions that were pinned in another life of the database."""
    with overriding_pins(wanted=True):
        publish("enhance", "First.")
    record_restore("today", "head")
    assert pins_from() == 0
