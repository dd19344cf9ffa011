"""The answer as the model wrote it: stored if it differs, shown with marks, and masked, erased and exported."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from channels.db import database_sync_to_async
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from promptops.engine import judged_runs
from promptops.engine.types import LLMRequest, LLMResponse, StreamEvent, TextChunk
from promptops.ledger.models import AuditEntry
from promptops.runs.actions import erasing, execution
from promptops.runs.models import Run, SafetyCheck
from promptops.safety import guards
from tests.comparing import answer, compare
from tests.runs.test_previews import frames, message, prepare
from tests.safety.test_safety_pages import BAD, change
from tests.web.sockets import page_socket

pytestmark = pytest.mark.django_db(transaction=True)

PREFACE = "Here is the enhanced prompt: "
READ = "A fox runs through fresh snow."


@pytest.fixture(autouse=True)
def _fresh_models(settings, tmp_path):
    settings.VAR_DIR = tmp_path
    yield
    guards.forget_models()


class Writing:
    """A provider that answers `raw`, which is read as `content`."""

    def __init__(self, content: str, raw: str) -> None:
        self.name = "p1"
        self.response = LLMResponse(content, "p1", "m1", 5.0, raw=raw)

    async def complete(self, request: LLMRequest) -> LLMResponse:
        return replace(self.response)

    async def stream(self, request: LLMRequest) -> AsyncIterator[StreamEvent]:
        yield TextChunk(self.response.raw or self.response.content)
        yield replace(self.response)


async def preview(publish, make_user, monkeypatch, content: str, raw: str, template: str = "enhance", **safety):
    """Make one preview, and return its run and the page's last frame."""
    monkeypatch.setattr(execution, "build_provider", lambda spec: Writing(content, raw))
    editor = await prepare(publish, make_user, "http://127.0.0.1:9/v1")
    if safety:
        await database_sync_to_async(change)(**safety)
    async with page_socket(editor) as socket:
        await socket.send_to(text_data=message(template=template))
        html = await frames(socket, "/runs/")
    return await Run.objects.aget(), html[-1]


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html))


async def test_it_is_stored_and_shown_with_removed_text_marked(publish, make_user, monkeypatch, client_for, viewer):
    run, frame = await preview(publish, make_user, monkeypatch, READ, PREFACE + READ)
    assert (run.output, run.raw, run.raw_masked) == (READ, PREFACE + READ, False)
    page = (await database_sync_to_async(client_for(viewer).get)(reverse("run", args=[run.pk]))).content.decode()
    for html in (frame, page):
        assert f"[removed:{PREFACE}]{READ}" in text_of(html)
        assert "<del>" in html
    assert 'data-view-of="written" hidden' in frame
    assert '<details class="written">' in page  # folded


async def test_pieces_come_as_they_were_written_and_the_answer_as_read_takes_their_place(
    publish, make_user, monkeypatch
):
    monkeypatch.setattr(execution, "build_provider", lambda spec: Writing(READ, PREFACE + READ))
    editor = await prepare(publish, make_user, "http://127.0.0.1:9/v1")
    async with page_socket(editor) as socket:
        await socket.send_to(text_data=message())
        html = await frames(socket, "/runs/")
    [piece] = [frame for frame in html if "beforeend:#try-0-1-text" in frame]
    assert PREFACE + READ in piece
    assert html[-1].startswith('<article id="try-0-1" class="answer" ')
    assert f'aria-label="Answer">{READ}</div>' in html[-1]


@pytest.mark.parametrize("raw", ["", READ, f"\n{READ} \n"])
async def test_it_is_not_stored_twice_if_it_equals_the_answer(raw, publish, make_user, monkeypatch):
    run, frame = await preview(publish, make_user, monkeypatch, READ, raw)
    assert (run.output, run.raw) == (READ, "")
    assert "as the model wrote it" not in frame


async def test_the_numbering_that_a_rewrite_loses_is_marked_too(publish, make_user, monkeypatch, client_for, viewer):
    run, frame = await preview(
        publish, make_user, monkeypatch, "1. A red fox\n2. A gray fox\n3. A fox", "", template="rewrite"
    )
    page = (await database_sync_to_async(client_for(viewer).get)(reverse("run", args=[run.pk]))).content.decode()
    for html in (frame, page):
        assert "[removed:1. ]A red fox" in text_of(html)


@pytest.mark.parametrize("mode", [{}, {"mode": "enforce"}], ids=["shadow", "enforce"])
async def test_harm_in_what_was_removed_is_masked_and_blocks_nothing(
    mode, publish, make_user, monkeypatch, client_for, releaser, viewer
):
    run, frame = await preview(publish, make_user, monkeypatch, READ, f"<think>{BAD}</think>{READ}", **mode)
    assert (run.status, run.output_masked, run.raw_masked) == ("succeeded", False, True)
    assert READ in frame
    checks = [check.decision async for check in SafetyCheck.objects.all()]
    assert checks == ["allow", "allow"]

    def look() -> None:
        for person in (viewer, releaser):
            for address in (reverse("run", args=[run.pk]), reverse("runs"), reverse("overview")):
                html = client_for(person).get(address).content.decode()
                assert "beheaded" not in html
                assert "would have blocked this run" not in html
        assert READ in client_for(viewer).get(reverse("run", args=[run.pk])).content.decode()
        reveal = reverse("run_reveal", args=[run.pk])
        assert client_for(viewer).post(reveal).status_code == 403
        assert "beheaded" in client_for(releaser).post(reveal).content.decode()
        assert AuditEntry.objects.filter(action="run.revealed").count() == 1

    assert "beheaded" not in frame
    await database_sync_to_async(look)()


async def test_beside_a_masked_answer_it_is_masked_without_being_judged(publish, make_user, monkeypatch):
    run, frame = await preview(publish, make_user, monkeypatch, BAD, PREFACE + BAD)
    assert (run.output_masked, run.raw_masked) == (True, True)
    assert PREFACE not in frame


async def test_where_the_filter_is_off_nothing_is_masked(publish, make_user, monkeypatch):
    run, _ = await preview(publish, make_user, monkeypatch, READ, f"<think>{BAD}</think>{READ}", mode="off")
    assert (run.raw_masked, bool(run.raw)) == (False, True)


def stored(**fields) -> Run:
    fields_of_run = {"source": "preview", "operation": "enhance", "temperature": 0.7, "max_tokens": 256, "revision": 1}
    fields_of_run |= {"status": "succeeded", "output": READ, "raw": PREFACE + READ, "latency_ms": 412.0}
    return Run.objects.create(**(fields_of_run | fields))


def test_it_is_erased_with_the_answer(actor):
    run = stored()
    erasing.erase(run, by=actor)
    run.refresh_from_db()
    assert (run.output, run.raw) == ("", "")


def test_it_ages_out_with_the_answer():
    old, young = stored(at=timezone.now() - timedelta(days=31)), stored()
    erasing.erase_expired()
    assert dict(Run.objects.values_list("pk", "raw")) == {old.pk: "", young.pk: PREFACE + READ}


def test_the_list_of_runs_reads_none(client_for, viewer):
    stored()
    with CaptureQueriesContext(connection) as captured:
        client_for(viewer).get(reverse("runs"))
    queries = [query["sql"] for query in captured if "promptops_run" in query["sql"] and "LIMIT 51" in query["sql"]]
    assert queries
    assert not [query for query in queries if '"raw"' in query]


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous")
def test_an_export_has_it_unless_it_is_masked(actor, client_for, viewer):
    compared = compare(actor, state="done")
    answer(compared)
    made = list(Run.objects.order_by("pk"))
    Run.objects.update(output=READ, raw=PREFACE + READ)
    Run.objects.filter(pk=made[1].pk).update(raw_masked=True)
    Run.objects.filter(pk=made[2].pk).update(output_masked=True)
    address = reverse("comparison_export", args=[compared.pk])
    response = client_for(viewer).post(address, {"what": "trials", "format": "jsonl"})
    rows = {row["run"]: row for row in map(json.loads, b"".join(response).decode().splitlines())}
    exported = [(rows[run.pk]["raw"], rows[run.pk]["output"], rows[run.pk]["masked"]) for run in made[:3]]
    assert exported == [(PREFACE + READ, READ, False), ("", READ, True), ("", "", True)]


def test_voters_see_the_answers_that_are_used(actor, client_for, editor):
    compared = compare(actor, inputs=1, state="done")
    answer(compared)
    Run.objects.update(raw="WRITTEN BY THE MODEL")
    page = client_for(editor).get(reverse("comparison_vote", args=[compared.pk])).content.decode()
    assert "answer A0.0" in page
    assert "WRITTEN" not in page


async def test_it_is_masked_on_the_page_as_long_as_it_is_not_judged(publish, make_user, monkeypatch):
    monkeypatch.setattr(execution, "PAGE_WAITS_SECONDS", 0.05)
    judge = judged_runs.judge

    async def judge_slowly(*arguments):
        await asyncio.sleep(0.5)
        return await judge(*arguments)

    monkeypatch.setattr(judged_runs, "judge", judge_slowly)
    monkeypatch.setattr(execution, "build_provider", lambda spec: Writing(READ, f"<think>{BAD}</think>{READ}"))
    editor = await prepare(publish, make_user, "http://127.0.0.1:9/v1")
    async with page_socket(editor) as socket:
        await socket.send_to(text_data=message(template="enhance"))
        [*_, frame] = [html for html in await frames(socket, "/runs/") if html.startswith("<article")]
    assert READ in text_of(frame)
    assert "[removed:" not in text_of(frame)
    assert "The answer as the model wrote it:" in text_of(frame)
