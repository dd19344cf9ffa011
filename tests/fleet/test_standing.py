"""Servers compared with what is live, and the sentences about them."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from promptops.fleet.queries import rollouts, servers
from promptops.fleet.standing import Live, standing_of
from promptops.ledger.models import Release
from tests.fleet.servers import save_server

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
LIVE = Live(revision=130, epoch="e1")


def reported(**fields):
    defaults = {
        "heard_at": NOW,
        "revision": 130,
        "epoch": "e1",
        "state": "ready",
        "refused_revision": None,
        "drift": "",
        "has_other_content": False,
    }
    return SimpleNamespace(**defaults | fields)


@pytest.mark.parametrize(
    ("fields", "behind_for", "standing"),
    [
        ({}, None, "current"),
        ({"heard_at": NOW - timedelta(seconds=29)}, None, "current"),
        ({"heard_at": NOW - timedelta(seconds=30)}, None, "silent"),
        ({"heard_at": NOW - timedelta(seconds=30), "drift": "x"}, None, "silent"),
        ({"revision": 129}, 5, "updating"),
        ({"revision": 129}, 20, "lagging"),
        ({"revision": None, "epoch": ""}, 1, "updating"),
        ({"revision": None, "epoch": ""}, 60, "lagging"),
        ({"epoch": "e0"}, 60, "lagging"),
        ({"revision": 129, "refused_revision": 130}, 5, "refused"),
        ({"refused_revision": 129}, None, "current"),
        ({"revision": 129, "state": "refused"}, 5, "refused"),
        ({"drift": "somebody changed a file"}, None, "drifted"),
        ({"has_other_content": True}, None, "drifted"),
        ({"state": "stale"}, None, "current"),
    ],
)
def test_standings(fields, behind_for, standing):
    behind_since = None if behind_for is None else NOW - timedelta(seconds=behind_for)
    assert standing_of(reported(**fields), LIVE, behind_since=behind_since, now=NOW) == standing


@pytest.mark.parametrize(
    ("seconds", "counts"),
    [
        ([], [0] * 8),
        ([0.0, 0.1, 0.11, 0.2], [2, 2, 0, 0, 0, 0, 0, 0]),
        ([0.5, 10.0, 10.1, 3600], [0, 0, 1, 0, 0, 0, 1, 2]),
    ],
)
def test_the_histogram_counts_each_time_once(seconds, counts):
    drawn = rollouts.bars(seconds)
    assert [bar.count for bar in drawn] == counts
    assert all(bar.y + bar.height == rollouts.BAR_HEIGHT for bar in drawn)


@pytest.mark.django_db
def test_a_server_lags_by_the_release_that_it_missed_first_not_by_the_newest(publish):
    for text in ("One", "Two", "Three"):
        publish("enhance", text)
    first, *_ = revisions = sorted(Release.objects.values_list("revision", flat=True))
    save_server(revision=first)
    Release.objects.filter(revision=first + 1).update(
        at=Release.objects.get(revision=first + 1).at - timedelta(seconds=25)
    )
    (row,) = servers.picture().rows
    assert (row.standing, row.behind) == ("lagging", revisions[-1] - first)


@pytest.mark.django_db
def test_only_servers_count_and_processes_are_shown(publish):
    publish("enhance", "Text")
    save_server("gpu-1")
    save_server("gpu-2", silent_for=60)
    save_server("control:8000", kind="process")
    shown = servers.picture()
    assert (shown.counts.current, shown.counts.total, len(shown.rows)) == (1, 2, 3)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("names", "silent", "parts"),
    [
        ([], [], []),
        (["gpu-1"], [], ["1 server "]),
        (["gpu-1", "gpu-2"], ["gpu-7"], ["3 servers", "gpu-7 silent since", "runs r1"]),
        ([], ["a", "b", "c", "d", "e"], ["5 servers", "2 more"]),
    ],
)
def test_the_sentence_about_who_gets_a_release(publish, names, silent, parts):
    publish("enhance", "Text")
    for name in names:
        save_server(name)
    for name in silent:
        save_server(name, silent_for=120, revision=1)
    sentence = servers.recipients(servers.picture())
    assert all(part in sentence for part in parts)
    assert bool(sentence) is bool(parts)
