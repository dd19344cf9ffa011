"""The overview's figures over HTTP: which runs count, for how long, and how they are shown."""

import re
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.db import connection
from django.template.loader import render_to_string
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from promptops.ledger.audit import Actor
from promptops.live import snapshots as live
from promptops.prompts.actions import operations
from promptops.prompts.actions.operations import OperationFields
from promptops.runs.models import Run
from promptops.runs.queries import figures as queries
from promptops.site.queries import overview
from promptops.web import fragments
from tests import factories
from tests.fleet.servers import save_server

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


def rows(response) -> dict[str, str]:
    """The rows of the operations as text, by name."""
    page = response.content.decode()
    table = page[page.index('<table class="operations"') : page.index("</table>")]
    texts = [
        re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", row)).strip() for row in re.findall(r"<tr.*?</tr>", table, re.S)
    ]
    return {text.split(" ")[0]: text for text in texts[1:]}


@pytest.mark.parametrize(
    ("good", "failed", "state"),
    [(0, 0, "no runs"), (100, 1, "healthy"), (49, 1, "errors"), (1, 2, "errors"), (12, 3, "failing")],
)
def test_the_state_of_an_operation_is_that_of_its_last_runs(publish, make_run, good, failed, state):
    publish("enhance", "First")
    make_run(at=timezone.now() - timedelta(hours=9), status="failed")
    if not good + failed:
        Run.objects.all().delete()
    Run.objects.bulk_create(
        [factories.build_run(status="succeeded" if number < good else "failed") for number in range(good + failed)]
    )
    assert overview.overview().operations[0].state[0] == state


def test_each_operation_has_one_row(client, publish, make_run, releaser):
    publish("enhance", "First", note="Calmer", by=Actor.person(releaser))
    make_run(latency_ms=1300)
    make_run(latency_ms=900, status="failed")
    found = rows(client.get(reverse("overview")))
    assert list(found) == ["enhance", "auto_extend", "rewrite"]
    row = "enhance v1 errors 2 50.0% errors p95 1.3 s (p95 of [^,]*, last 1.3 s )?just now by Rita Releaser Calmer"
    assert re.match(row, found["enhance"])
    assert "built in nothing live" in found["rewrite"]


def test_an_operation_without_any_text_answers_nothing(client, actor):
    operations.add("caption", OperationFields("Names a clip."), by=actor)
    page = client.get(reverse("overview"))
    assert "caption none nothing answers" in rows(page)["caption"]
    assert re.search(r"Needs attention .*caption : nothing answers", text_of(page))


def test_all_is_well(client, publish):
    factories.make_provider("local", "local", "")
    for name in ("enhance", "auto_extend", "rewrite"):
        publish(name, "First")
    page = text_of(client.get(reverse("overview")))
    assert "All is well" in page
    assert "1 of 1 ready local demonstration" in page


def test_the_embedded_model_says_that_it_is_a_demonstration(client_for, administrator):
    embedded, other = factories.make_provider("local", "local", ""), factories.make_provider("own")
    pages = [text_of(client_for(administrator).get(reverse("provider", args=[each.pk]))) for each in (embedded, other)]
    assert ["demonstration The embedded model is for trying" in page for page in pages] == [True, False]
    live.refresh()
    shown = [
        render_to_string("runs/_try_facts.html", {"answer": {"provider": name, "latency_ms": 9}})
        for name in ("local", "own", "gone")
    ]
    assert ["demonstration" in html for html in shown] == [True, False, False]


def test_the_newest_five_releases_are_shown(client, publish):
    for number in range(7):
        publish("enhance", f"Text {number}", note=f"Note {number}")
    page = text_of(client.get(reverse("overview")))
    shown = page[page.index("Newest releases") :]
    assert re.findall(r"\br(\d) ", shown) == ["7", "6", "5", "4", "3"]


def test_totals_of_runs_tokens_and_cost(client, make_run):
    for latency in (100, 200):
        run = make_run(latency_ms=latency, cost=0.5)
        run.attempts.create(position=1, started_ms=0, latency_ms=9, input_tokens=1000, output_tokens=200)
    assert "2 runs 2,400 tokens $1.00 cost" in text_of(client.get(reverse("overview")))


STEPS = ["Add a provider", "Try a prompt", "Publish a prompt", "Invite a person", "Connect a server"]


@pytest.mark.parametrize(
    ("role", "mine"), [("viewer", []), ("editor", STEPS[1:2]), ("releaser", STEPS[1:3]), ("administrator", STEPS)]
)
def test_everybody_sees_the_first_steps_that_they_may_do(client_for, make_user, role, mine):
    page = text_of(client_for(make_user(role)).get(reverse("overview")))
    assert ("First steps" in page) == bool(mine)
    assert [step for step in STEPS if f": {step}" in page] == mine


def test_first_steps_tick_themselves_and_go(client_for, administrator, make_user, publish):
    client = client_for(administrator)
    factories.make_provider("local", "local", "")
    assert "Done:" not in text_of(client.get(reverse("overview")))
    factories.make_provider("own")
    factories.make_run()
    publish("enhance", "First", by=Actor.person(administrator))
    make_user("viewer", "second")
    page = text_of(client.get(reverse("overview")))
    assert re.findall(r"(Done|To do): (\w+)", page) == [
        ("Done", "Add"),
        ("Done", "Try"),
        ("Done", "Publish"),
        ("Done", "Invite"),
        ("To do", "Connect"),
    ]
    save_server("gpu-1")
    assert "First steps" not in text_of(client.get(reverse("overview")))


def test_first_steps_can_be_hidden(client_for, administrator):
    client = client_for(administrator)
    assert client.post(reverse("first_steps_hide")).status_code == 302
    assert "First steps" not in text_of(client.get(reverse("overview")))


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


def test_all_pages_and_roles_share_the_figures_until_there_is_a_newer_run(client, make_run, viewer, editor):
    def counted() -> int:
        with CaptureQueriesContext(connection) as captured:
            client.get(reverse("overview"))
            for role in (viewer.role, editor.role):
                for name in ("overview", "figures-24"):
                    assert fragments.render(name, role, None).html
        return sum("latency_ms" in query["sql"] and "promptops_run" in query["sql"] for query in captured)

    make_run()
    assert counted() == 1
    assert counted() == 0
    make_run()
    assert counted() == 1
    assert enhance().runs == 2


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
