"""Smoke runs over the socket: the editor's text and the live version on each sample, side by side."""

import asyncio
import json

import pytest
from channels.db import database_sync_to_async

from promptops.ledger.audit import Actor
from promptops.ledger.models import LiveConfiguration
from promptops.prompts.actions import samples, variables
from promptops.prompts.models import Template
from promptops.providers.actions.chain import ProviderFields, create_provider
from promptops.runs.models import Run
from promptops.runs.socket import running
from tests.engine.helpers import STREAM_HEAD, Respond, answer_with, delta, http_answer, loopback, part
from tests.runs.test_previews import frames, streamed
from tests.web.sockets import page_socket

pytestmark = pytest.mark.django_db(transaction=True)

CANCEL = json.dumps({"action": "cancel", "run": "smoke"})


async def prepare(publish, make_user, url: str, *, operation: str = "enhance", inputs=("a fox",), live: str = "Live."):
    """Create a template, a provider, pinned inputs and a variable, and return an editor."""

    def work():
        actor = Actor("Tests")
        variables.declare(operation, "season", "winter", by=actor)
        if live:
            publish(operation, live)
        create_provider(ProviderFields("p1", "openai", "m1", url), by=actor, key="k")
        for text in inputs:
            samples.pin(operation, text, by=actor)
        return make_user("editor", "eddie", "Eddie")

    return await database_sync_to_async(work)()


def message(**fields) -> str:
    content = {"body": "In {{ season }}.", "temperature": "", "max_tokens": "", "model": "", "base": ""}
    return json.dumps({"action": "smoke", "template": "enhance"} | content | fields)


def hanging(asked: asyncio.Semaphore) -> Respond:
    """Return a response that begins and never ends, and releases `asked` once."""

    async def hang() -> None:
        asked.release()
        await asyncio.sleep(30)

    return answer_with(STREAM_HEAD, part(delta("A red ")), then=hang)


async def test_both_texts_run_on_every_pinned_input(publish, make_user):
    async with loopback(answer_with(*streamed("A <b>fox</b>."))) as upstream:
        editor = await prepare(
            publish, make_user, upstream.url, inputs=("a fox", "a whale"), live="Live, {{ season }}."
        )
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message(temperature="0.2"))
            html = await frames(socket, "were answered")
    assert "a fox" in html[0]
    assert "a whale" in html[0]
    assert "4 runs, two at a time" in html[0]
    for place in ("1-new", "1-live", "2-new", "2-live"):
        cell = next(frame for frame in html if f'id="smoke-{place}" hx-swap-oob' in frame)
        assert "A &lt;b&gt;fox&lt;/b&gt;." in cell
        assert "/runs/" in cell
    assert "All 4 runs were answered." in html[-1]
    runs = [run async for run in Run.objects.select_related("version", "user", "template").order_by("id")]
    assert {(run.source, run.status, run.user, run.template.name) for run in runs} == {
        ("preview", "succeeded", editor, "enhance")
    }
    recorded = sorted((run.input, run.version is None, run.draft_body, run.temperature) for run in runs)
    assert recorded == [
        ("a fox", False, "", 0.7),
        ("a fox", True, "In {{ season }}.", 0.2),
        ("a whale", False, "", 0.7),
        ("a whale", True, "In {{ season }}.", 0.2),
    ]
    asked = sorted(request.body["messages"][0]["content"] for request in upstream.requests)
    assert asked == ["In winter."] * 2 + ["Live, winter."] * 2
    assert running[editor.pk] == 0


async def test_it_changes_nothing_that_is_live(publish, make_user):
    async with loopback(answer_with(*streamed("Fine."))) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        before = await LiveConfiguration.objects.values_list("revision", flat=True).aget()
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message())
            await frames(socket, "were answered")
    assert await LiveConfiguration.objects.values_list("revision", flat=True).aget() == before
    assert (await Template.objects.select_related("live_version").aget()).live_version.number == 1


async def test_without_a_live_version_only_the_text_runs_on_shipped_inputs(publish, make_user, actor):
    async with loopback(answer_with(*streamed("1. One\n2. Two"))) as upstream:
        editor = await prepare(publish, make_user, upstream.url, operation="rewrite", inputs=(), live="")
        await database_sync_to_async(Template.objects.create)(name="fresh", operation="rewrite")
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message(template="fresh"))
            html = await frames(socket, "were answered")
    assert "Live, v" not in "".join(html)
    runs = [run async for run in Run.objects.all()]
    assert [run.count for run in runs] == [3, 3]
    assert {run.input for run in runs} == {"a fox running through snow", "a city street at night in the rain"}


async def test_a_failing_provider_is_shown_and_blocks_nothing(publish, make_user):
    async with loopback(answer_with(http_answer("busy", status=503, content_type="text/plain"))) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message())
            html = await frames(socket, "runs failed")
    assert "2 of 2 runs failed" in html[-1]
    assert "You can still publish" in html[-1]
    assert "503" in "".join(html)
    assert [run.status async for run in Run.objects.all()] == ["failed", "failed"]


async def test_canceling_stops_both_runs_and_calls_no_more_providers(publish, make_user):
    asked = asyncio.Semaphore(0)
    async with loopback(hanging(asked)) as upstream:
        editor = await prepare(publish, make_user, upstream.url, inputs=("one", "two", "three"))
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message())
            await frames(socket, "two at a time")
            async with asyncio.timeout(5):
                await asked.acquire()
                await asked.acquire()
            await socket.send_to(text_data=CANCEL)
            html = await frames(socket, "Canceled")
    assert len(upstream.requests) == 2
    assert 'id="smoke-status"' in html[-1]
    assert [run.status async for run in Run.objects.all()] == ["canceled", "canceled"]
    assert running[editor.pk] == 0


async def test_closing_the_page_cancels_it(publish, make_user):
    asked = asyncio.Semaphore(0)
    async with loopback(hanging(asked)) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message())
            async with asyncio.timeout(5):
                await asked.acquire()
                await asked.acquire()
    assert [run.status async for run in Run.objects.all()] == ["canceled", "canceled"]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"body": "In {{ sesaon }}."}, "Line 1, column 4: {{ sesaon }} is not declared."),
        ({"body": "  "}, "blank"),
        ({"template": "nowhere"}, "This template does not exist"),
        ({"template": ["x"]}, "This template does not exist"),
        ({"temperature": "9"}, "less than or equal to 2"),
    ],
)
async def test_an_invalid_smoke_run_is_refused_with_a_sentence(fields, sentence, publish, make_user):
    editor = await prepare(publish, make_user, "http://127.0.0.1:9/v1")
    async with page_socket(editor) as socket:
        await socket.send_to(text_data=message(**fields))
        assert sentence in (await frames(socket, "toast"))[-1]
    assert not await Run.objects.aexists()


async def test_a_text_that_fails_a_check_is_not_tried_either(publish, make_user):
    editor = await prepare(publish, make_user, "http://127.0.0.1:9/v1")
    async with page_socket(editor) as socket:
        wanted = {"action": "run", "what": "editor", "where": "chain", "input": "a fox", "body": "{{ season"}
        await socket.send_to(text_data=message(**wanted))
        assert "never closed" in (await frames(socket, "toast"))[-1]
    assert not await Run.objects.aexists()
