"""The figures of providers: calls and latencies of the last hour, tokens and cost of the day."""

from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from promptops.runs.models import Attempt, Run
from promptops.runs.queries import provider_figures
from promptops.runs.queries import providers as queries
from tests.providers.pages import KEY, call, text_of

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@pytest.fixture
def noon(monkeypatch) -> datetime:
    """Stop the clock of the queries at noon."""
    monkeypatch.setattr(queries.timezone, "now", lambda: NOON)
    return NOON


def at(moment: datetime, outcome: str = "succeeded", latency_ms: float = 500, drill: str = "", **fields) -> Run:
    run = call("groq", outcome, "no answer" if outcome == "failed" else "")
    Run.objects.filter(pk=run.pk).update(at=moment, drill=drill)
    Attempt.objects.filter(run=run).update(latency_ms=latency_ms, **fields)
    return run


def figures() -> provider_figures.Figures:
    return queries.with_figures()[0].figures


def test_the_last_hour_counts_answers_and_failures(add, noon):
    add(key=KEY)
    assert figures() == provider_figures.Figures()
    at(noon - timedelta(minutes=61), "failed")
    for number in range(1, 101):
        at(noon - timedelta(minutes=5), latency_ms=number * 10)
    failed = at(noon - timedelta(minutes=4), "failed", latency_ms=5)
    at(noon - timedelta(minutes=4), "canceled", latency_ms=70_000)
    at(noon - timedelta(minutes=1), "failed", drill="503 in groq")
    now = figures()
    assert (now.answered, now.failed, now.success_percent) == (100, 1, "99.0")
    assert (now.p50_ms, now.p95_ms) == (500, 950)
    assert now.last_error.run_id == failed.pk
    assert queries.listed()[0].last.run_id == failed.pk  # neither the drill nor the canceled one


@pytest.mark.parametrize(("answered", "failed", "percent"), [(999, 1, "99.9"), (9999, 1, "99.9"), (1, 2, "33")])
def test_a_rate_never_hides_a_failure(answered, failed, percent):
    assert provider_figures.Figures(answered=answered, failed=failed).success_percent == percent


def test_the_plot_has_one_scale_with_failures_on_top(add, noon):
    add(key=KEY)
    for latency_ms in (1, 12, 1000, 1000, 1000, 1500):
        at(noon, latency_ms=latency_ms)
    at(noon, "failed", latency_ms=1000)
    at(noon, "failed", latency_ms=1e9)
    bars = {bar.x: (bar.answered, bar.failed, bar.failed_y) for bar in figures().bars}
    assert bars == {0: (40, 0, 60), 50: (80, 20, 0), 93.75: (0, 20, 80)}
    assert figures().p50_x == 50


def test_each_provider_keeps_its_newest_latencies(add, noon, monkeypatch):
    add(key=KEY)
    add("other", key=KEY)
    for latency_ms in (10, 20, 30):
        at(noon, latency_ms=latency_ms)
    Attempt.objects.filter(run=at(noon, latency_ms=7)).update(provider="other")
    monkeypatch.setattr(provider_figures, "LATENCIES_READ", 4)
    groq, other = queries.with_figures()
    assert (groq.figures.p50_ms, groq.figures.p95_ms, groq.figures.answered) == (20, 30, 3)
    assert other.figures.p95_ms == 7


def test_today_is_the_readers_day_and_estimates_are_marked(add, noon, client_for, viewer):
    opened = {"open": add(key=KEY).pk}
    at(noon, input_tokens=1000, output_tokens=20, cost=0.5)
    at(noon - timedelta(hours=11.5), "canceled", input_tokens=200, output_tokens=3, cost=0.25)
    at(noon - timedelta(hours=12.5), input_tokens=50_000, output_tokens=4, cost=9, cost_estimated=True)
    at(noon, drill="401 in groq", input_tokens=7, output_tokens=7, cost=7)
    client = client_for(viewer)
    page = text_of(client.get(reverse("providers"), opened))
    assert "$0.75 1,200 tokens in , 23 out" in page
    client.cookies["tz"] = "Europe/Berlin"  # where it is an hour later, and the day began an hour earlier
    page = text_of(client.get(reverse("providers"), opened))
    assert "~$9.75 51,200 tokens in , 27 out" in page
    Attempt.objects.update(cost=None, usage_estimated=True)
    page = text_of(client.get(reverse("providers"), opened))
    assert "$" not in page
    assert "~51,200 tokens in , ~27 out" in page


@pytest.mark.parametrize(
    ("cost", "estimated", "shown"),
    [
        (None, False, ""),
        (0, False, "$0.00"),
        (0.00423, True, "~$0.0042"),
        (0.0999, False, "$0.1"),
        (1234.5, False, "$1,234.50"),
    ],
)
def test_costs_are_shown_with_the_digits_that_matter(cost, estimated, shown):
    assert provider_figures.Figures(cost=cost, cost_estimated=estimated).cost_shown == shown


def test_the_plot_has_its_figures_in_words_too(add, client_for, viewer):
    opened = {"open": add(key=KEY).pk}
    call("groq", "failed", "groq answered 503: <b>busy</b>")
    call("groq", "succeeded")
    response = client_for(viewer).get(reverse("providers"), opened)
    page, text = response.content.decode(), text_of(response)
    words = "half of the answers within 812 ms, 95% within 812 ms; 1 answered, 1 failed."
    assert f'role="img" aria-label="Latencies of the last hour: {words}"' in page
    assert "50% answered, 1 of 2" in text
    assert "p50 812 ms , p95 812 ms , 1 failed" in text
    assert "just now : groq answered 503: &lt;b&gt;busy&lt;/b&gt;" in text
