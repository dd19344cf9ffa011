"""Conditions become messages: begin, hold, flap, grow and end, each told once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from promptops.alerts import kinds
from promptops.alerts.actions import destinations, looking
from promptops.alerts.conditions import Finding
from promptops.alerts.kinds import AlertKind
from promptops.alerts.models import Alert, Delivery, Destination
from tests.alerts.helpers import save_email, save_webhook

pytestmark = pytest.mark.django_db
BEGIN = datetime(2026, 11, 28, 12, tzinfo=UTC)


class Weather:
    """A condition that tests switch: how many things it is about, by minute."""

    count = 0

    def find(self, now: datetime, open_keys: frozenset[str]) -> list[Finding]:
        return [Finding("", f"{self.count} clouds.", "/", {"clouds": self.count}, self.count)] if self.count else []


@pytest.fixture
def weather(monkeypatch, actor) -> Weather:
    found = Weather()
    monkeypatch.setitem(kinds.KINDS, "rain", AlertKind("rain", "Rain", "it rains", find=found.find))
    return found


def look_at(weather: Weather, *counts: int, step: float = 1, since: float = 0) -> None:
    """Look every `step` minutes, with these numbers of things."""
    for index, weather.count in enumerate(counts):
        looking.look(BEGIN + timedelta(minutes=since + index * step))


def told() -> list[str]:
    """Return the states and titles of the messages about the weather, oldest first."""
    rows = Delivery.objects.filter(type__startswith="promptops.rain").order_by("pk")
    return [f"{row.data['state']}: {row.title}" for row in rows]


BEGUN, ENDED = "begun: 1 clouds.", "ended: Resolved: 1 clouds."


@pytest.mark.parametrize(
    ("counts", "hold", "messages"),
    [
        ([0] * 9, 0, []),
        ([1] * 9, 0, [BEGUN]),
        ([1, 1, *[0] * 8], 0, [BEGUN, ENDED]),
        ([1, 1, *[0] * 4], 0, [BEGUN]),  # held down: it may come back
        ([1, 0, 1, 0, 0, 1, 0, 0, 0, 1, *[0] * 4], 0, [BEGUN]),  # it flaps
        ([1, 1, *[0] * 8], 5, []),  # too short for this destination
        ([1, 1, 1, 1, 1, 1, *[0] * 8], 5, [BEGUN, ENDED]),
        ([1, 2, 2, 3, 8, 9, 9], 0, [BEGUN, "grown: 3 clouds.", "grown: 9 clouds."]),
        ([1000] * 3, 0, ["begun: 1000 clouds."]),
    ],
)
def test_what_is_told(weather, actor, counts, hold, messages):
    save_webhook(actor, alerts=("rain",), hold_minutes=hold)
    look_at(weather, *counts)
    assert told() == messages


def test_an_alert_stores_when_it_began_and_ended(weather, actor):
    save_webhook(actor, alerts=("rain",))
    look_at(weather, 1, 1, *[0] * 8)
    alert = Alert.objects.get()
    assert (alert.begun_at, alert.ended_at) == (BEGIN, BEGIN + timedelta(minutes=2))
    last = Delivery.objects.latest("pk")
    assert last.after == Delivery.objects.earliest("pk")
    assert last.data["ended_at"] == "2026-11-28T12:02:00+00:00"


def test_each_end_doubles_the_time_that_a_condition_must_stay_away(weather, actor):
    """Half an hour of rain every ten minutes is not a message every five minutes."""
    save_webhook(actor, alerts=("rain",))
    look_at(weather, *([1] + [0] * 9) * 12)
    ends = [message for message in told() if message == ENDED]
    assert len(ends) == 1


def test_only_destinations_that_want_the_kind_are_told(weather, actor):
    wanting = save_webhook(actor, alerts=("rain",))
    save_email(actor, alerts=("safety.failing",))
    off = save_webhook(actor, "Off", alerts=("rain",))
    Destination.objects.filter(pk=off.pk).update(enabled=False)
    look_at(weather, 1)
    assert {row.destination_id for row in Delivery.objects.filter(type="promptops.rain.begun")} == {wanting.pk}


def test_a_destination_that_comes_later_is_told_of_what_holds_but_not_of_its_end_alone(weather, actor):
    save_webhook(actor, alerts=("rain",))
    look_at(weather, 1)
    late = save_webhook(actor, "Late", alerts=("rain",), hold_minutes=30)
    look_at(weather, 1, *[0] * 8, since=1)
    assert not late.deliveries.exists()
    look_at(weather, 1, since=60)
    newest = save_webhook(actor, "Newest", alerts=("rain",))
    look_at(weather, 1, since=61)
    assert [row.data["state"] for row in newest.deliveries.all()] == ["begun"]


def test_a_destination_that_is_turned_on_is_told_of_what_holds(weather, actor):
    row = save_webhook(actor, alerts=("rain",))
    look_at(weather, 1)
    destinations.set_enabled(row, False, by=actor)  # before the message left
    look_at(weather, 1, since=1)
    destinations.set_enabled(row, True, by=actor)
    look_at(weather, 1, since=2)
    assert [each.state for each in row.deliveries.all()] == ["waiting"]


def test_two_processes_that_look_at_once_tell_once(weather, actor):
    save_webhook(actor, alerts=("rain",))
    weather.count = 1
    stale = Alert(kind="rain", key="", title="1 clouds.", page="/", begun_at=BEGIN)
    looking.look(BEGIN)
    Alert.objects.bulk_create([stale], ignore_conflicts=True)  # the slower one
    looking.look(BEGIN)
    assert (Alert.objects.count(), told()) == (1, [BEGUN])


def test_a_condition_that_cannot_be_computed_neither_ends_nor_stops_the_others(weather, actor, monkeypatch, caplog):
    monkeypatch.setitem(kinds.KINDS, "storm", AlertKind("storm", "Storm", "", find=lambda *_: []))
    save_webhook(actor, alerts=("rain", "storm"))
    look_at(weather, 1)
    sound = kinds.KINDS["rain"]

    def broken(now, open_keys):
        raise ValueError("broken")

    monkeypatch.setitem(kinds.KINDS, "rain", replace(sound, find=broken))
    monkeypatch.setitem(kinds.KINDS, "storm", AlertKind("storm", "Storm", "", find=lambda *_: [Finding("", "S.", "/")]))
    look_at(weather, 0, since=99)
    assert set(Alert.objects.filter(ended_at=None).values_list("kind", flat=True)) == {"rain", "storm"}
    assert "rain cannot be computed" in caplog.text


def test_releases_are_told_once_each_and_none_from_before(actor, publish):
    publish("enhance", "Before.")
    save_webhook(actor, alerts=("release.made",))
    publish("enhance", "After.", note="Warmer")
    for _ in range(3):
        looking.look(BEGIN)
    row = Delivery.objects.get()
    assert row.type == "promptops.release.made"
    assert row.title == "r2: Ada Administrator published enhance v2"
    facts = {"by": "Ada Administrator", "note": "Warmer", "template": "enhance", "version": 2, "revision": 2}
    assert facts.items() <= row.data.items()
    assert row.page == "/revisions/2/"


def test_releases_of_a_time_without_destinations_are_not_told_later(actor, publish):
    save_webhook(actor, alerts=("release.made",))
    Destination.objects.update(enabled=False)
    publish("enhance", "Nobody hears it.")
    looking.look(BEGIN)
    Destination.objects.update(enabled=True)
    looking.look(BEGIN)
    Destination.objects.all().delete()
    publish("enhance", "Nor this.")
    save_webhook(actor, alerts=("release.made",))
    looking.look(BEGIN)
    assert not Delivery.objects.exists()
