"""The kinds of alerts, in one table: forms, messages, the page and docs/alerts.md are derived from it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from promptops.alerts import conditions, events
from promptops.alerts.conditions import Finding
from promptops.alerts.events import Happening

Find = Callable[[datetime, frozenset[str]], list[Finding]]


@dataclass(frozen=True)
class AlertKind:
    """One kind of alert: a condition with a begin and an end (`find`), or an event without an end (`since`)."""

    name: str
    label: str
    when: str
    find: Find | None = None
    """Returns what holds at that time. It also gets the keys of this kind's open alerts."""
    since: Callable[[int], list[Happening]] | None = None
    """Returns the events after that number, oldest first."""
    newest: Callable[[], int] = lambda: 0
    """Returns the number of the newest event."""


KINDS: dict[str, AlertKind] = {
    kind.name: kind
    for kind in (
        AlertKind(
            "release.made",
            "Release made",
            "something that is live changed: each revision is one message",
            since=events.releases_since,
            newest=events.newest_release,
        ),
        AlertKind(
            "release.requested",
            "Release asked for",
            "somebody asked releasers to publish a draft, or updated the request",
            since=events.requests_since,
            newest=events.newest_request,
        ),
        AlertKind(
            "provider.down",
            "Provider down",
            "the last 3 calls of a provider in use failed, until a call succeeds",
            find=conditions.providers_down,
        ),
        AlertKind(
            "provider.out_of_credit",
            "Provider out of credit",
            "a provider in use answered that its account has no credit, until a call succeeds",
            find=conditions.providers_out_of_credit,
        ),
        AlertKind(
            "runs.failing",
            "Error rate of runs",
            "too many runs of an operation got no answer; the threshold is on the Alerts page",
            find=conditions.operations_failing,
        ),
        AlertKind(
            "safety.failing",
            "Safety filter failing",
            "the safety filter's classifier fails its self-test, or texts were not judged in the last 10 minutes",
            find=conditions.safety_failing,
        ),
        AlertKind(
            "servers.silent",
            "Servers silent",
            "servers sent no heartbeat for 30 seconds",
            find=conditions.servers_silent,
        ),
        AlertKind(
            "servers.refusing",
            "Servers refusing",
            "servers refuse the revision that is live",
            find=conditions.servers_refusing,
        ),
        AlertKind(
            "servers.drifting",
            "Servers drifting",
            "servers run other content than their revision has",
            find=conditions.servers_drifting,
        ),
    )
}


def label_of(name: str) -> str:
    """Return the label of a kind; the name itself if only an earlier release of PromptOps knew it."""
    return KINDS[name].label if name in KINDS else name
