"""The overview's figures over HTTP: which runs count, for how long, and how they are shown."""

import re
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from promptops.ledger import audit, registry
from promptops.ledger.audit import Actor
from promptops.runs.models import Run
from promptops.runs.queries import figures as queries
from promptops.site import queries as overview
from promptops.web import fragments
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def make_run(editor):
    return partial(factories.make_run, user=editor)


@pytest.fixture
def client(client_for, viewer):
    return client_for(viewer)


def text_of(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def enhance(hours: int = 24) -> queries.Tally:
    [total] = [each.total for each in queries.figures(hours).operations if each.operation == "enhance"]
    return total


def test_without_runs_there_is_a_sentence_and_no_axis(client):
    response = client.get(reverse("overview"))
    assert "No runs in this time" in text_of(response)
    assert 'class="chart"' not in response.content.decode()


def test_which_runs_count_in_which_figures(make_run):
    make_run(latency_ms=100, cost=0.5)
    make_run(latency_ms=300, fallback_used=True, cost=0.25, cost_estimated=True)
    make_run(latency_ms=900, status="failed")
    make_run(latency_ms=5000, status="canceled", cost=0.25)
    make_run(latency_ms=7000, drill="503 in groq", status="failed", cost=9)
    make_run(latency_ms=8000, source="test", cost=9)
    tally = enhance()
    assert tally.runs == 4
    assert tally.fallback == queries.Rate(1, 2)
    assert tally.errors == queries.Rate(1, 3)
    assert (tally.p50, tally.p95) == (300, 900)
    assert (tally.cost, tally.cost_estimated) == (1.0, True)


def test_the_page_shows_rates_with_their_counts(client, make_run):
    for _ in range(3):
        make_run(fallback_used=True, cost=0.002, cost_estimated=True)
    make_run(status="failed")
    response = client.get(reverse("overview"))
    page = text_of(response)
    for words in ("3 of 3 (100%)", "1 of 4 (25.0%)", "~$0.0060", "Figures as a table", "Last 24 hours"):
        assert words in page
    charts = re.findall(r'<svg viewBox[^>]* role="img" aria-label="([^"]+)"', response.content.decode())
    assert [label.split(":")[0] for label in charts] == [
        f"{title} of enhance" for title in ("Runs", "Share", "Latency", "Cost")
    ]
    assert "p95 between 400 ms and 400 ms, last 400 ms" in charts[2]
    assert "No runs in this time" not in page


def test_without_prices_there_is_no_chart_of_costs(client, make_run):
    make_run()
    assert "Cost of enhance" not in client.get(reverse("overview")).content.decode()


@pytest.mark.parametrize(("hours", "expected"), [(1, 1), (24, 2), (168, 3)])
def test_the_address_chooses_how_far_back(make_run, hours, expected):
    now = timezone.now()
    for age in (timedelta(), timedelta(hours=20), timedelta(days=6), timedelta(days=9)):
        make_run(at=now - age)
    assert enhance(hours).runs == expected


@pytest.mark.parametrize("hours", ["", "2", "-1", "x", "99999999999999999999", "\x00"])
def test_any_other_number_of_hours_means_24(client, hours):
    assert "Last 24 hours" in text_of(client.get(reverse("overview"), {"hours": hours}))


def test_each_live_part_is_rendered_by_itself(viewer, make_run):
    make_run()
    figures = fragments.render("figures-1", viewer.role, None).html
    assert 'id="figures"' in figures
    assert 'data-fragment="figures-1"' in figures
    assert 'id="figures-table"' in figures
    assert "<details" not in figures  # it stays open on the page while its table is replaced
    assert 'id="overview"' not in figures
    assert 'id="figures"' not in fragments.render("overview", viewer.role, None).html


def test_queries_do_not_grow_with_runs(client, make_run):
    counts = []
    for count in (1, 30):
        while Run.objects.count() < count:
            make_run(operation=("enhance", "rewrite", "auto_extend")[Run.objects.count() % 3])
        client.get(reverse("overview"))
        with CaptureQueriesContext(connection) as captured:
            client.get(reverse("overview"))
        counts.append(len(captured))
    assert counts[0] == counts[1]


def test_too_many_runs_are_capped_and_the_page_says_so(client, make_run, monkeypatch):
    monkeypatch.setattr(queries, "MAX_RUNS", 2)
    now = timezone.now()
    for hours in (0, 1, 9):
        make_run(at=now - timedelta(hours=hours))
    figures = queries.figures(24)
    assert figures.capped
    assert figures.runs == 2
    assert len(figures.operations[0].steps) <= 3
    assert "Only the newest 2 are counted here." in text_of(client.get(reverse("overview")))


@pytest.mark.parametrize(
    ("hours", "zone", "count", "first", "last"),
    [
        (1, "UTC", 12, "2026-03-02 09:10", "2026-03-02 10:05"),
        (24, "UTC", 24, "2026-03-01 11:00", "2026-03-02 10:00"),
        (24, "Asia/Kolkata", 24, "2026-03-01 10:30", "2026-03-02 09:30"),
        (168, "UTC", 28, "2026-02-23 12:00", "2026-03-02 06:00"),
    ],
)
def test_steps_begin_at_round_times_of_the_readers_clock(hours, zone, count, first, last):
    with timezone.override(zone):
        steps = queries.step_starts(datetime(2026, 3, 2, 10, 7, tzinfo=UTC), hours)
    assert len(steps) == count
    assert [f"{at:%Y-%m-%d %H:%M}" for at in (steps[0], steps[-1])] == [first, last]


def test_exports_are_not_among_the_latest_changes(editor):
    exports = registry.names(lambda action: action.noun == "exports" or action.name.endswith(".exported"))
    assert len(exports) == 5
    after = {"exports": 2, "what": "votes", "format": "csv", "inputs": 1, "files": 1}
    for action in exports:
        audit.record(action, by=Actor.person(editor), object_name="it", after=after)
    assert overview.overview().changes == []
