"""The metrics of the servers that follow: how soon they run a release, and how they stand."""

from datetime import timedelta

import pytest
from django.utils import timezone

from promptops.engine.snapshot import Snapshot
from promptops.fleet import metrics as fleet_metrics
from promptops.fleet import now
from promptops.fleet.enums import Outcome
from promptops.fleet.metrics import Swap
from promptops.fleet.reports import Acknowledged
from promptops.platform import metrics

COUNT = "promptops_acknowledgement_duration_seconds_count"


def value(name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def snapshot(revision: int, epoch: str = "a") -> Snapshot:
    return Snapshot(revision, templates={}, defaults={}, providers=(), epoch=epoch)


def acknowledged(
    revision: int = 8, *, server: str = "gpu-1", outcome=Outcome.APPLIED, came: float = -60, kind="library"
) -> Acknowledged:
    """Return an answer that comes 2 s from now, of a server that connected `came` seconds from now."""
    at = timezone.now()
    connected_at = at + timedelta(seconds=came)
    return Acknowledged(revision, server, "one", kind, outcome, at + timedelta(seconds=2), connected_at)


@pytest.mark.parametrize(
    ("answers", "measured"),
    [
        ([acknowledged()], 1),
        ([acknowledged(), acknowledged(server="gpu-2")], 2),
        ([acknowledged(), acknowledged()], 1),  # connected again
        ([acknowledged(7)], 0),
        ([acknowledged(came=3600)], 0),  # came after the release
        ([acknowledged(outcome=Outcome.REFUSED)], 0),
        ([acknowledged(kind="process")], 0),
    ],
)
def test_the_first_answer_of_a_connected_server_is_measured(answers, measured):
    swap = Swap()
    swap.note(snapshot(7), snapshot(8))
    before = value(COUNT)
    for answer in answers:
        swap.hear(answer)
    assert value(COUNT) == before + measured


@pytest.mark.parametrize("before", [None, snapshot(3, "b")])
def test_nobody_waits_for_the_first_snapshot_and_for_a_restored_one(before):
    swap = Swap()
    swap.note(before, snapshot(8))
    counted = value(COUNT)
    swap.hear(acknowledged())
    assert value(COUNT) == counted


@pytest.mark.django_db
def test_servers_show_once_the_fleet_is_read():
    now.forget()
    assert value("promptops_servers", standing="silent") is None
    fleet_metrics.now.refresh()
    assert value("promptops_servers", standing="silent") == 0
