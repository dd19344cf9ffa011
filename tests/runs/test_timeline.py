"""The attempts of one run: their phases, the timeline and retries."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from promptops.runs.models import Attempt
from promptops.runs.queries import runs as queries
from tests.runs.test_run_pages import text_of

pytestmark = pytest.mark.django_db


def phases_of(**fields) -> list[tuple[str, float]]:
    attempt = Attempt(**({"started_ms": 100, "latency_ms": 400, "outcome": "failed"} | fields))
    return [(name, end) for name, end in queries.phases(attempt)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"connect_ms": 30, "first_text_ms": 300},
            [("queued", 100), ("connecting", 130), ("waiting", 300), ("streaming", 500)],
        ),
        ({"connect_ms": 30}, [("queued", 100), ("connecting", 130), ("waiting", 500), ("streaming", 500)]),
        ({"error_kind": "timeout"}, [("queued", 100), ("connecting", 500)]),
        (
            {"error_kind": "timeout", "connect_ms": 5},
            [("queued", 100), ("connecting", 105), ("waiting", 500), ("streaming", 500)],
        ),
        ({"error_kind": "server"}, [("queued", 100), ("connecting", 100), ("waiting", 500), ("streaming", 500)]),
    ],
)
def test_the_phases_of_an_attempt(fields, expected):
    assert phases_of(**fields) == expected


def test_the_timeline_shows_how_attempts_spent_the_time(client, make_run):
    run = make_run(attempts=0, latency_ms=1900, fallback_used=True)
    timed_out = {"outcome": "failed", "error_kind": "timeout", "started_ms": 60, "queued_ms": 60, "connect_ms": 40}
    Attempt.objects.create(run=run, position=1, provider="cerebras", latency_ms=1200, **timed_out)
    answered = {"outcome": "succeeded", "started_ms": 1260, "connect_ms": 30, "first_text_ms": 1500, "hedge": True}
    Attempt.objects.create(run=run, position=2, provider="groq", latency_ms=640, **answered)
    response = client.get(reverse("run", args=[run.pk]))
    assert "Longest: 1.2 s waiting for text from cerebras" in text_of(response)
    labels = re.findall(r'class="bar \w+" role="img" aria-label="([^"]+)"', response.content.decode())
    assert labels == [
        "cerebras, from 60 ms: queued 60 ms, connecting 40 ms, waiting 1.2 s, failed",
        "groq, from 1.3 s: connecting 30 ms, waiting 210 ms, streaming 400 ms, succeeded",
    ]
    for words in ("✕ timeout", "hedge", "queued", "connecting", "waiting for text", "streaming"):
        assert words in text_of(response)


def test_one_run_takes_the_same_queries_with_many_attempts(client, make_run):
    counts = []
    for attempts in (1, 30):
        address = reverse("run", args=[make_run(attempts=attempts).pk])
        client.get(address)
        with CaptureQueriesContext(connection) as captured:
            client.get(address)
        counts.append(len(captured))
    assert counts[0] == counts[1]


def test_a_second_call_of_the_same_provider_is_marked_as_a_retry(client, make_run):
    run = make_run(attempts=3)
    page = text_of(client.get(reverse("run", args=[run.pk])))
    assert page.count("cerebras retry") == 1
    assert page.count(" retry ") == 2  # on the time axis, and at the attempt
