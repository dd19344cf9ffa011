"""Runs over HTTP: the list with its filters and new rows, one run, and erasing."""

import html
import re
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from promptops.platform.pages import PAGE_SIZE
from promptops.runs.models import Attempt, Run

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>"


def listed(response) -> list[int]:
    """Return the ids of the runs that a page or a fragment shows, in its order."""
    return [int(pk) for pk in re.findall(r'href="/runs/(\d+)/"', response.content.decode())]


def rows_of(response) -> str:
    return response.content.decode().partition('<tbody id="rows"')[2].partition("</tbody>")[0]


def text_of(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_an_empty_list_teaches_the_next_step(client):
    page = text_of(client.get(reverse("runs")))
    assert "No runs yet" in page
    assert "Texts are erased after 30 days" in page
    assert "No runs match" in text_of(client.get(reverse("runs"), {"status": "failed"}))


def test_the_list_shows_person_prompt_and_result(client, make_run, publish):
    version = publish("noir", "Dark.", operation="enhance")
    old = make_run("x" * 400, template=version.template, version=version, fallback_used=True, output="Fox.\nSnow.")
    draft = make_run(HOSTILE, template=version.template, source="test", status="failed", provider="", latency_ms=65_000)
    response = client.get(reverse("runs"))
    assert listed(response) == [draft.pk, old.pk]
    page = text_of(response)
    for words in ("noir v1, enhance", "by Eddie Editor", "noir draft, enhance, provider test", "groq", "fallback"):
        assert words in page
    for words in ("412 ms", "1 min 5 s", "failed", "x" * 99 + "…"):
        assert words in page
    assert "Fox. (run" in page.replace("  ", " ")
    assert "Snow." not in page
    assert "succeeded" not in rows_of(response)
    assert "x" * 101 not in page
    assert HOSTILE not in response.content.decode()


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"output": "\n\n  A fox. \nSnow."}, "A fox."),
        ({"output": '{\n  "caption": "fox"\n}'}, '{ "caption": "fox" }'),
        ({"output": "  \n "}, "Empty answer"),
        ({"output": "Kept apart.", "output_masked": True}, "Answer masked by the safety filter"),
        ({"output": "A fox.", "erased_at": datetime(2026, 3, 1, tzinfo=ZoneInfo("UTC"))}, "Texts erased"),
        ({"status": "failed", "error": "p1 answered 503: busy\nmore"}, "p1 answered 503: busy"),
        ({"status": "failed", "error": "p1 quotes it", "input_masked": True}, "because it may quote the input"),
        ({"status": "canceled"}, "No answer: canceled"),
        ({"status": "unchanged"}, "the input went on unchanged"),
        ({"status": "blocked", "input_masked": True}, "No answer: the safety filter blocked it"),
    ],
)
def test_a_row_begins_with_the_first_line_of_the_answer_or_why_there_is_none(client, make_run, fields, line):
    made = make_run("my input", **{"output": ""} | fields)
    shown = html.unescape(re.search(r'<a class="cover"[^>]*>(.*?)</a>', rows_of(client.get(reverse("runs"))), re.S)[1])
    shown = re.sub(r"<[^>]+>", "", shown).split(f"(run {made.pk})")[0]
    assert line in " ".join(shown.split())
    for kept_apart in ("Snow", "Kept apart", "more", "p1 quotes it"):
        assert kept_apart not in shown


def test_runs_of_comparisons_come_only_if_a_filter_asks_for_them(client, make_run):
    usual, trial = make_run(), make_run(source="comparison", status="failed")
    for query, wanted in (({}, [usual]), ({"source": "all"}, [trial, usual]), ({"source": "comparison"}, [trial])):
        assert listed(client.get(reverse("runs"), query)) == [run.pk for run in wanted]
    nothing = text_of(client.get(reverse("runs"), {"status": "failed"}))
    assert "No runs match. Runs of comparisons are left out" in nothing


def test_each_filter_that_is_set_can_be_removed(client, make_run, viewer):
    make_run(status="failed", user=viewer)
    for query in ({"status": "failed", "user": "vera"}, {"status": "canceled", "user": "vera", "revision": "7"}):
        page = client.get(reverse("runs"), query).content.decode()
        links = dict(re.findall(r'href="([^"]+)" title="Remove this filter">\s*<span class="clip">(.*?)</span>', page))
        assert len(links) == len(query)
        for name in query:
            rest = "&amp;".join(f"{other}={value}" for other, value in query.items() if other != name)
            assert f"/runs/?{rest}" in links
        words = " ".join(links.values())
        assert "Person: <bdi>Vera Viewer</bdi>" in words
        assert f"Status: <bdi>{query['status'].capitalize()}</bdi>" in words
    assert '<details class="more" open>' in page


def test_a_page_reads_no_whole_texts(client, make_run):
    make_run("secret " * 1000, draft_body="d", output="o", error="e")
    with CaptureQueriesContext(connection) as captured:
        client.get(reverse("runs"))
    [query] = [query["sql"] for query in captured if '"promptops_run"."latency_ms"' in query["sql"]]
    whole = re.sub(r"(SUBSTR|LEFT)\(.*?\)", "", query)
    for column in ("draft_body", "input", "output", "error", "body"):
        assert f'"{column}"' not in whole


def test_queries_do_not_grow_with_rows(client, make_run, publish):
    version = publish("enhance", "Polish.")
    counts = []
    for count in (1, 30):
        while Run.objects.count() < count:
            make_run(template=version.template, version=version, attempts=2)
        client.get(reverse("runs"))
        with CaptureQueriesContext(connection) as captured:
            assert len(listed(client.get(reverse("runs")))) == count
        counts.append(len(captured))
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"operation": "rewrite"}, ["rewrite"]),
        ({"status": "failed"}, ["failed"]),
        ({"source": "test"}, ["test"]),
        ({"template": "noir"}, ["noir"]),
        ({"user": "vera"}, ["by vera"]),
        ({"provider": "cerebras"}, ["two attempts"]),
        ({"provider": "removed"}, ["removed"]),
        ({"start": "2026-03-02"}, ["two attempts"]),
        ({"start": "2026-03-01", "end": "2026-03-01"}, ["march"]),
        ({"status": "failed", "operation": "rewrite"}, []),
        ({"status": "nonsense"}, "all"),
        ({"start": "yesterday"}, "all"),
        ({"start": "0001-01-01", "end": "9999-12-31"}, "all"),
    ],
)
def test_filters(client, make_run, viewer, publish, query, expected):
    berlin = ZoneInfo("Europe/Berlin")
    noir = publish("noir", "Dark.", operation="enhance").template
    past = timezone.make_aware(datetime(2025, 1, 1))
    runs = {
        "rewrite": make_run(operation="rewrite", at=past),
        "failed": make_run(status="failed", at=past),
        "test": make_run(source="test", at=past),
        "noir": make_run(template=noir, at=past),
        "by vera": make_run(user=viewer, at=past),
        "removed": make_run(provider="removed", at=past),
        "march": make_run(at=datetime(2026, 3, 1, 23, 59, tzinfo=berlin)),
        "two attempts": make_run(attempts=2, at=datetime(2026, 3, 2, 0, 1, tzinfo=berlin)),
    }
    client.cookies["tz"] = "Europe/Berlin"
    response = client.get(reverse("runs"), query)
    wanted = list(runs) if expected == "all" else expected
    assert listed(response) == sorted((runs[name].pk for name in wanted), reverse=True)
    if expected == "all":
        assert "This filter is left out" in text_of(response)


def test_a_last_day_before_the_first_is_an_error(client, make_run):
    make_run()
    page = text_of(client.get(reverse("runs"), {"start": "2026-03-02", "end": "2026-03-01"}))
    assert "The last day is before the first" in page


@pytest.mark.parametrize("value", ["\x00", "x" * 500, HOSTILE, "'; DROP TABLE promptops_run; --", "🦊"])
@pytest.mark.parametrize("name", ["operation", "template", "user", "provider", "start", "before", "since"])
def test_hostile_filters_are_shown_as_text_and_break_nothing(client, make_run, name, value):
    make_run()
    response = client.get(reverse("runs"), {name: value})
    assert response.status_code == 200
    assert HOSTILE not in response.content.decode()
    assert Run.objects.count() == 1


def test_empty_parameters_leave_the_address(client):
    response = client.get(reverse("runs") + "?operation=&status=failed&start=&before=")
    assert (response.status_code, response["Location"]) == (302, "/runs/?status=failed")
    assert client.get(reverse("runs") + "?operation=")["Location"] == "/runs/"


def test_pages_go_on_from_a_run_and_stay_as_they_are(client, make_run):
    keys = [make_run(status="failed").pk for _ in range(PAGE_SIZE + 20)][::-1]
    first = client.get(reverse("runs"), {"status": "failed"})
    assert listed(first) == keys[:PAGE_SIZE]
    [older] = re.findall(r'rel="next" href="([^"]+)"', first.content.decode())
    older = older.replace("&amp;", "&")
    assert listed(client.get(older)) == keys[PAGE_SIZE:]
    make_run(status="failed")
    second = client.get(older)
    assert listed(second) == keys[PAGE_SIZE:]
    [newer] = re.findall(r'rel="prev" href="([^"]+)"', second.content.decode())
    assert listed(client.get(newer.replace("&amp;", "&"))) == keys[:PAGE_SIZE]
    assert "live:runs" in first.content.decode()
    assert "live:runs" not in second.content.decode()


def test_new_runs_come_as_rows_that_match_the_filters(client, make_run):
    shown = make_run(status="failed")
    assert client.get(reverse("runs"), {"news": "rows", "since": shown.pk}).status_code == 204
    make_run(status="succeeded")
    new = [make_run(status="failed").pk for _ in range(2)]
    query = {"status": "failed", "since": shown.pk}
    response = client.get(reverse("runs"), query | {"news": "rows"})
    assert listed(response) == new[::-1]
    assert "<html" not in response.content.decode()
    response = client.get(reverse("runs"), query | {"news": "count"})
    assert listed(response) == []
    assert "2 new runs" in text_of(response)
    response = client.get(reverse("runs"), {"since": new[-1] - 1, "news": "count"})
    assert "1 new run<" in response.content.decode()


def test_more_new_runs_than_a_page_are_not_put_into_the_list(client, make_run):
    shown = make_run()
    for _ in range(PAGE_SIZE + 1):
        make_run()
    response = client.get(reverse("runs"), {"news": "rows", "since": shown.pk})
    assert listed(response) == []
    assert f"More than {PAGE_SIZE} new runs" in text_of(response)


def test_an_open_list_without_rows_is_reloaded(client, make_run):
    assert client.get(reverse("runs"), {"news": "rows"}).status_code == 204
    make_run()
    assert client.get(reverse("runs"), {"news": "rows"})["HX-Refresh"] == "true"


def test_one_run(client, make_run, publish):
    version = publish("enhance", "Polish.")
    run = make_run(f"{HOSTILE} 🦊", template=version.template, version=version, attempts=2, fallback_used=True)
    response = client.get(reverse("run", args=[run.pk]))
    page = text_of(response)
    for words in ("A red fox.", "Eddie Editor", "Preview", "enhance v1", "r7", "temperature 0.7", "at most 256 tokens"):
        assert words in page
    for words in ("cerebras", "did not answer within 5 s.", "1,234 tokens in", "56 tokens out", "fallback used"):
        assert words in re.sub(r" +", " ", page)
    assert reverse("version", args=["enhance", 1]) in response.content.decode()
    assert HOSTILE not in response.content.decode()
    assert client.get(reverse("run", args=[run.pk + 1])).status_code == 404


def test_a_run_shows_its_usage_and_cost(client, make_run):
    run = make_run(attempts=1, cost=0.0042, cost_estimated=True, truncated=True)
    run.attempts.update(
        cached_tokens=128, reasoning_tokens=40, usage_estimated=True, cost=0.0042, cost_estimated=True, truncated=True
    )
    run.attempts.update(answered_model="gpt-oss-120b-0825", finish_reason="length", connect_ms=12)
    page = re.sub(r" +", " ", text_of(client.get(reverse("run", args=[run.pk]))))
    for words in ("~1,234 tokens in", "128 of them cached", "~56 tokens out", "40 of them reasoning", "~$0.0042"):
        assert words in page
    for words in (
        "answered by gpt-oss-120b-0825",
        "finish reason length",
        "cut off at the token limit",
        "connected in",
    ):
        assert words in page
    assert "~$0.0042" in text_of(client.get(reverse("runs")))


def test_the_answering_model_is_shown_only_if_it_differs(client, make_run):
    run = make_run()
    run.attempts.update(answered_model="gpt-oss-120b")
    assert "answered by gpt" not in text_of(client.get(reverse("run", args=[run.pk])))


def test_a_drill_is_marked_everywhere(client, make_run):
    run = make_run(drill="503 in groq")
    assert "drill: 503 in groq" in text_of(client.get(reverse("runs")))
    page = text_of(client.get(reverse("run", args=[run.pk])))
    assert "drill: 503 in groq" in page
    assert "does not count in statistics" in page


def test_a_draft_run_shows_its_system_prompt(client, make_run, publish):
    template = publish("enhance", "Polish.").template
    run = make_run(template=template, draft_body=f"Work in progress {HOSTILE}")
    page = client.get(reverse("run", args=[run.pk])).content.decode()
    assert "Work in progress &lt;script&gt;" in page
    assert "System prompt of the draft" in page


def test_a_rewrite_shows_its_alternatives_as_a_list(client, make_run):
    run = make_run(operation="rewrite", count=3, output="1. One\n2) Two")
    page = client.get(reverse("run", args=[run.pk])).content.decode()
    assert re.findall(r"<li[^>]*><div[^>]*>(\w+)</div></li>", page) == ["One", "Two"]
    assert "2 of 3 alternatives arrived" in page


def test_a_failed_and_a_canceled_run_say_why_there_is_no_output(client, make_run):
    failed = make_run(status="failed", output="", error="groq answered 503.", provider="")
    canceled = make_run(status="canceled", output="", provider="", attempts=0)
    assert "groq answered 503." in text_of(client.get(reverse("run", args=[failed.pk])))
    page = text_of(client.get(reverse("run", args=[canceled.pk])))
    assert "the run was canceled" in page
    assert "No provider was called" in page


@pytest.mark.parametrize(
    ("attempt", "is_the_models"),
    [
        ({}, True),
        ({"status": 400}, False),
        ({"finish_reason": "content_filter"}, False),
        ({"error_kind": "server"}, False),
    ],
)
def test_a_model_that_declined_is_quoted(client, make_run, attempt, is_the_models):
    words = f"I'm sorry, {HOSTILE}, I can't."
    run = make_run(status="failed", output="", error=f"groq refused: {words}")
    Attempt.objects.update(**({"error_kind": "refused", "message": run.error} | attempt))
    response = client.get(reverse("run", args=[run.pk]))
    assert ("The model declined to answer: I&#x27;m sorry" in text_of(response)) == is_the_models
    assert "sorry" in text_of(response)
    assert HOSTILE not in response.content.decode()
