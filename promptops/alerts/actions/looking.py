"""Looking at everything that may be an alert: conditions begin, grow and end, and their messages are queued.

One process looks at a time (`alerts.following`). Constraints of the tables keep it right if two do: a condition is open
once, and no destination gets a message twice. Sending is in `actions.deliveries`.
"""

import logging
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import Error, transaction
from django.utils import timezone

from promptops.alerts.actions import deliveries
from promptops.alerts.actions.deliveries import Message
from promptops.alerts.conditions import Finding
from promptops.alerts.kinds import KINDS
from promptops.alerts.models import Alert, Delivery, Destination, EventCursor

log = logging.getLogger(__name__)

CLEAR_FOR = timedelta(minutes=5)
"""So long a condition must not hold before it has ended. Each end in the last `CALM_AFTER` doubles the time."""
MOST_CLEAR_FOR = timedelta(hours=1)
CALM_AFTER = timedelta(hours=6)
GROWS_BY = 3
"""A condition about several things is told again when it is about so many times as many."""
TITLE_CHARACTERS = 500


def look(now: datetime | None = None) -> None:
    """Find what holds and what happened, and queue the messages. The conditions are read outside of transactions."""
    now = now or timezone.now()
    destinations = list(Destination.objects.filter(enabled=True).defer("address_encrypted", "secret_encrypted"))
    _queue_events(destinations)
    open_keys: dict[str, set[str]] = {}
    for name, key in Alert.objects.filter(ended_at=None).values_list("kind", "key"):
        open_keys.setdefault(name, set()).add(key)
    wanted = {name for destination in destinations for name in destination.alerts} | open_keys.keys()
    findings: dict[str, list[Finding]] = {}
    for kind in KINDS.values():
        if kind.find is None or kind.name not in wanted:
            continue
        try:
            findings[kind.name] = kind.find(now, frozenset(open_keys.get(kind.name, ())))
        except Error:
            raise
        except Exception:  # the others are still looked at; this one neither begins nor ends
            log.exception("The condition %s cannot be computed. Trying again.", kind.name)
    _record(findings, destinations, now)


def _queue_events(destinations: list[Destination]) -> None:
    numbers = dict(EventCursor.objects.values_list("kind", "number"))
    for kind in KINDS.values():
        if kind.since is None:
            continue
        if kind.name not in numbers:  # a kind that an upgrade brought
            EventCursor.objects.bulk_create([EventCursor(kind=kind.name, number=kind.newest())], ignore_conflicts=True)
        elif news := kind.since(numbers[kind.name]):
            with transaction.atomic():
                for event in news:
                    message = Message(
                        cause=f"{kind.name}:{event.number}",
                        type=kind.name,
                        title=event.title[:TITLE_CHARACTERS],
                        data=event.facts,
                        page=event.page,
                        happened_at=event.at,
                    )
                    deliveries.queue(message, [each for each in destinations if kind.name in each.alerts])
                EventCursor.objects.filter(kind=kind.name).update(number=news[-1].number)


def _record(findings: dict[str, list[Finding]], destinations: list[Destination], now: datetime) -> None:
    """Open, change and end alerts by the findings of the kinds that were looked at, and queue their messages."""
    with transaction.atomic():
        alerts = {(each.kind, each.key): each for each in Alert.objects.select_for_update().filter(ended_at=None)}
        new = []
        for kind, found in findings.items():
            for finding in found:
                known = alerts.get((kind, finding.key))
                values = _values(finding)
                if known is None:
                    new.append(Alert(kind=kind, key=finding.key, begun_at=now, **values))
                elif known.clear_since or any(getattr(known, name) != value for name, value in values.items()):
                    for name, value in values.items():
                        setattr(known, name, value)
                    known.clear_since = None
                    known.save(update_fields=[*values, "clear_since"])
        holding = {(kind, finding.key) for kind, found in findings.items() for finding in found}
        gone = [each for each in alerts.values() if each.kind in findings and (each.kind, each.key) not in holding]
        ended = _end(gone, now)
        if new:
            Alert.objects.bulk_create(new, ignore_conflicts=True)  # another process may have been faster
        open_now = list(Alert.objects.filter(ended_at=None, clear_since=None)) if alerts or new else []
        _queue(open_now, ended, destinations, now)


def _values(finding: Finding) -> dict[str, Any]:
    return {
        "title": finding.title[:TITLE_CHARACTERS],
        "facts": finding.facts,
        "page": finding.page,
        "count": finding.count,
    }


def _end(gone: list[Alert], now: datetime) -> list[Alert]:
    """End the alerts that have not held for long enough, and return them. The more often one ends, the longer."""
    if not gone:
        return []
    recent = Counter(
        Alert.objects.filter(ended_at__gt=now - CALM_AFTER, kind__in={each.kind for each in gone}).values_list(
            "kind", "key"
        )
    )
    ended = []
    for alert in gone:
        if alert.clear_since is None:
            alert.clear_since = now
            alert.save(update_fields=["clear_since"])
        elif now - alert.clear_since >= min(MOST_CLEAR_FOR, CLEAR_FOR * 2 ** min(recent[alert.kind, alert.key], 10)):
            alert.ended_at = alert.clear_since
            alert.save(update_fields=["ended_at"])
            ended.append(alert)
    return ended


@dataclass(frozen=True)
class _Told:
    """The messages about alerts that are queued already: deliveries by destination, alert and cause."""

    rows: dict[tuple[int, int | None, str], int]

    def begun(self, destination: Destination, alert: Alert) -> int | None:
        """Return the delivery that told the destination of the alert's begin, or None."""
        return self.rows.get((destination.pk, alert.pk, f"{alert.pk}:begun"))


def _queue(open_now: list[Alert], ended: list[Alert], destinations: list[Destination], now: datetime) -> None:
    queued = Delivery.objects.filter(alert__in=[each.pk for each in (*open_now, *ended)])
    told = _Told(
        {(row[0], row[1], row[2]): row[3] for row in queued.values_list("destination", "alert", "cause", "pk")}
    )
    for alert in open_now:
        wanting = [each for each in destinations if alert.kind in each.alerts]
        fresh = [
            each
            for each in wanting
            if not told.begun(each, alert) and now - alert.begun_at >= timedelta(minutes=each.hold_minutes)
        ]
        deliveries.queue(_message(alert, "begun"), fresh)
        grown = alert.told and alert.count >= GROWS_BY * alert.told
        if grown:
            known = [each for each in wanting if told.begun(each, alert)]
            deliveries.queue(_message(alert, "grown", f"grown-{alert.count}"), known)
        if grown or (fresh and alert.count > alert.told):
            Alert.objects.filter(pk=alert.pk).update(told=alert.count)
    for alert in ended:
        for destination in destinations:
            if begun := told.begun(destination, alert):
                deliveries.queue(_message(alert, "ended"), [destination], after=begun)


def _message(alert: Alert, state: str, cause: str = "") -> Message:
    title = f"Resolved: {alert.title}" if state == "ended" else alert.title
    data = {
        "alert": alert.pk,
        "state": state,
        "begun_at": _iso(alert.begun_at),
        "ended_at": _iso(alert.ended_at) if alert.ended_at else None,
        **alert.facts,
    }
    return Message(
        cause=f"{alert.pk}:{cause or state}",
        type=f"{alert.kind}.{state}",
        title=title,
        data=data,
        page=alert.page,
        happened_at=alert.ended_at or alert.begun_at,
        alert=alert,
    )


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
