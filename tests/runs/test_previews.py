"""Previews over the socket, against a real loopback provider: streaming, cancel, refusals, limits."""

import asyncio
import json

import pytest
from autobahn.exception import Disconnected
from channels.db import database_sync_to_async

from promptops.ledger.audit import Actor
from promptops.live import snapshots as live
from promptops.people.actions import accounts
from promptops.platform import events
from promptops.prompts.models import Template
from promptops.providers.actions.chain import ProviderFields, create_provider
from promptops.runs import previews
from promptops.runs.models import Attempt, Run
from promptops.runs.socket import MAX_RUNS, running
from promptops.web.socket import PageConsumer
from tests.engine.helpers import STREAM_END, STREAM_HEAD, answer_with, delta, event, loopback, part
from tests.web.sockets import page_socket

pytestmark = pytest.mark.django_db(transaction=True)

DONE = part(event("[DONE]")) + STREAM_END
KEY = "sk-very-secret-key"


def streamed(*texts: str) -> list[bytes]:
    return [STREAM_HEAD, *(part(delta(text)) for text in texts), part(delta(finish="stop")), DONE]


async def prepare(publish, make_user, *urls: str):
    """Create a template for each operation and a provider for each URL, and return an editor."""

    def work():
        for name in ("enhance", "auto_extend", "rewrite"):
            publish(name, f"The {name} prompt.")
        actor = Actor("Tests")
        for number, url in enumerate(urls, start=1):
            create_provider(ProviderFields(f"p{number}", "openai", f"m{number}", url), by=actor, key=KEY)
        return make_user("editor", "eddie", "Eddie")

    return await database_sync_to_async(work)()


def message(**fields) -> str:
    defaults = {"action": "run", "template": "enhance", "what": "editor", "where": "chain", "input": "a fox"}
    editor = {"body": "My text.", "temperature": "", "max_tokens": "", "model": "", "base": ""}
    return json.dumps(defaults | editor | fields)


async def frames(socket, until: str, seconds: float = 5) -> list[str]:
    """Return the HTML frames up to the one with `until`, without hints."""
    html = []
    async with asyncio.timeout(seconds):
        while True:
            text = await socket.receive_from(timeout=seconds)
            if not text.startswith("{"):
                html.append(text)
                if until in text:
                    return html


async def test_text_streams_in_and_the_run_is_recorded(publish, make_user):
    async with loopback(answer_with(*streamed("A red ", "fox <b>", " runs."))) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        async with page_socket(editor) as socket:
            settings = {"temperature": "0.2", "max_tokens": "99", "top_p": "0.9", "reasoning_effort": "low"}
            await socket.send_to(text_data=message(**settings))
            html = await frames(socket, "/runs/")
    texts = [frame for frame in html if "beforeend:#try-0-1-text" in frame]
    assert len(texts) >= 2
    assert "fox &lt;b&gt;" in "".join(texts)
    assert "A red fox &lt;b&gt; runs." in html[-1]
    sent = upstream.requests[0].body
    assert [part["content"] for part in sent["messages"]] == ["My text.", "a fox"]
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("m1", 0.2, 99)
    assert (sent["top_p"], sent["reasoning_effort"], "seed" in sent) == (0.9, "low", False)
    run = await Run.objects.select_related("user", "template").aget()
    assert (run.status, run.output, run.input) == ("succeeded", "A red fox <b> runs.", "a fox")
    assert (run.user, run.template.name, run.version, run.draft_body) == (editor, "enhance", None, "My text.")
    assert (run.provider, run.model, run.fallback_used, run.temperature) == ("p1", "m1", False, 0.2)
    assert (run.top_p, run.reasoning_effort, run.seed) == (0.9, "low", None)
    assert run.revision == (await live.acurrent()).revision
    attempt = await Attempt.objects.aget()
    assert (attempt.outcome, attempt.provider) == ("succeeded", "p1")
    assert attempt.first_text_ms is not None


async def test_an_interrupted_stream_is_no_answer(publish, make_user):
    cut = answer_with(STREAM_HEAD, part(delta("A red ")), close=True)
    async with loopback(cut) as first, loopback(answer_with(*streamed("Other."))) as second:
        editor = await prepare(publish, make_user, first.url, second.url)
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message())
            html = (await frames(socket, "/runs/"))[-1]
    assert "The partial text was discarded" in html
    assert second.requests == []
    run = await Run.objects.aget()
    assert (run.status, run.output) == ("failed", "")


async def test_cancel_closes_the_connection_and_records_the_run(publish, make_user):
    hang = answer_with(STREAM_HEAD, part(delta("A red ")), then=lambda: asyncio.sleep(30))
    async with loopback(hang) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message())
            await frames(socket, "A red")
            await socket.send_to(text_data=json.dumps({"action": "cancel"}))
            await frames(socket, "Canceled")
            await upstream.wait_closed(1)
    run = await Run.objects.aget()
    assert run.status == "canceled"
    assert (await Attempt.objects.aget()).outcome == "canceled"


async def test_a_run_cancels_the_earlier_one_and_a_refused_run_does_not(publish, make_user):
    hang = answer_with(STREAM_HEAD, part(delta("A red ")), then=lambda: asyncio.sleep(30))
    async with loopback(hang) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message(place="try-1"))
            await frames(socket, "A red")
            await socket.send_to(text_data=message(input=" ", place="try-2"))
            assert "Canceled" not in "".join(await frames(socket, "Type an input first"))
            assert running[editor.pk] == 1
            await socket.send_to(text_data=message(input="a hen", place="try-3"))
            assert '<article id="try-1-1"' in (await frames(socket, "Canceled"))[-1]
            assert 'id="try-3"' in (await frames(socket, "A red"))[0]
            assert [(run.input, run.status) async for run in Run.objects.all()] == [("a fox", "canceled")]


async def test_closing_the_page_cancels_its_run(publish, make_user):
    hang = answer_with(STREAM_HEAD, part(delta("A red ")), then=lambda: asyncio.sleep(30))
    async with loopback(hang) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message())
            await frames(socket, "A red")
        await upstream.wait_closed(1)
    assert (await Run.objects.aget()).status == "canceled"


async def test_a_run_in_flight_keeps_its_snapshot(publish, make_user):
    released = asyncio.Event()
    slow = answer_with(STREAM_HEAD, part(delta("Old ")), then=released.wait)

    async def respond(writer):
        await slow(writer)
        for piece in (part(delta("answer.")), part(delta(finish="stop")), DONE):
            writer.write(piece)
        await writer.drain()

    async with loopback(respond) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        before = (await live.acurrent()).revision
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message(what="1"))
            await frames(socket, "Old")
            await database_sync_to_async(publish)("enhance", "Newer")
            assert (await live.acurrent()).revision == before + 1
            released.set()
            await frames(socket, "Old answer.")
    run = await Run.objects.select_related("version").aget()
    assert (run.revision, run.version.number) == (before, 1)
    assert upstream.requests[0].body["messages"][0]["content"] == "The enhance prompt."


async def test_rewrite_asks_for_the_count_and_lists_the_alternatives(publish, make_user):
    async with loopback(answer_with(*streamed("1. First way\n2) Second way\n"))) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message(template="rewrite", what="1", count="4"))
            html = (await frames(socket, "/runs/"))[-1]
    ways = "".join(f'<li><div dir="auto">{way} way</div></li>' for way in ("First", "Second"))
    assert ways in html
    assert "2 of 4 alternatives arrived" in html
    system, user = (part["content"] for part in upstream.requests[0].body["messages"])
    assert "4" in system.removeprefix("The rewrite prompt.")
    assert user == "a fox"


async def test_auto_extend_sends_the_prior_prompts_by_line(publish, make_user):
    async with loopback(answer_with(*streamed("Next."))) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message(template="auto_extend", what="1", input="one\r\ntwo"))
            await frames(socket, "/runs/")
    assert upstream.requests[0].body["messages"][1]["content"] == "one\ntwo"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"input": "  "}, "Type an input first"),
        ({"input": "x" * 16001}, "16,000"),
        ({"input": "a\x00"}, "Null characters"),
        ({"body": " "}, "The prompt is blank"),
        ({"what": "77"}, "enhance has no v77"),
        ({"what": "drop"}, "Choose the editor"),
        ({"where": "999"}, "no longer exists"),
        ({"where": "1; drop"}, "Choose the chain"),
        ({"template": "nothing"}, "does not exist"),
        ({"template": "rewrite", "count": "99"}, "at most 10"),
        ({"temperature": "9"}, "less than or equal to 2"),
        ({"input": "a" + chr(0xD83D)}, "half a character"),
        ({"action": "format"}, "out of date"),
        ({"action": ["run"]}, "out of date"),
        ({"action": "test", "provider": "7" * 5000}, "no longer exists"),
        ({"action": "test", "provider": "77"}, "no longer exists"),
    ],
)
async def test_bad_messages_are_refused_with_the_reason(publish, make_user, fields, sentence):
    editor = await prepare(publish, make_user)
    async with page_socket(editor) as socket:
        await socket.send_to(text_data=message(**fields, place="try-7"))
        assert sentence in (await frames(socket, "toast"))[-1]
        assert json.loads(await socket.receive_from(timeout=5)) == {"event": "refused", "place": "try-7"}
    assert not await Run.objects.aexists()


@pytest.mark.parametrize("text", ["[]", "null", "{", "[" * 100_000, "x" * 600_000])
async def test_a_malformed_message_is_refused(publish, make_user, text):
    editor = await prepare(publish, make_user)
    async with page_socket(editor) as socket:
        await socket.send_to(text_data=text)
        assert "could not be read" in (await frames(socket, "toast"))[-1]


async def test_hostile_figures_and_half_characters_of_a_provider_lose_nothing(publish, make_user):
    usage = {"prompt_tokens": -1, "completion_tokens": 10**30}
    odd = b'{"choices": [{"delta": {"content": "A \\ud83d fox."}}]}'
    pieces = [STREAM_HEAD, part(b"data: " + odd + b"\n\n"), part(event({"choices": [], "usage": usage}))]
    async with loopback(answer_with(*pieces, part(delta(finish="stop")), DONE)) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message())
            assert "A ? fox." in (await frames(socket, "/runs/"))[-1]
    assert (await Run.objects.aget()).output == "A ? fox."
    attempt = await Attempt.objects.aget()
    assert (attempt.input_tokens, attempt.output_tokens) == (None, None)


async def test_hints_of_runs_come_once_a_second(publish, make_user, monkeypatch):
    monkeypatch.setattr(events, "SECONDS_BETWEEN_RUNS", 0.3)
    editor = await prepare(publish, make_user)
    async with page_socket(editor) as socket:
        await asyncio.sleep(0.1)
        while not await socket.receive_nothing(timeout=0.4):  # also the time after the first look at the database
            await socket.receive_from()
        for number in range(101, 111):
            await events.tell_pages(events.RUN_RECORDED, number)
        hints = []
        while not await socket.receive_nothing(timeout=0.6):
            hints.append(json.loads(await socket.receive_from()))
    assert [(each["event"], each["number"]) for each in hints][-1] == ("runs", 110)
    assert len(hints) == 2  # one at once, and the newest of the others


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"action": "preview"}, "try"),
        ({"action": "preview", "run": "smoke"}, "try"),  # one run would be counted as the two of a smoke run
        ({"action": "smoke", "run": "try"}, "smoke"),
        ({"action": "cancel"}, "try"),
        ({"action": "cancel", "run": "smoke"}, "smoke"),
        ({"action": "cancel", "provider": "07"}, "test-7"),
        ({"action": ["smoke"], "run": {}}, "try"),
    ],
)
def test_the_key_of_a_message(message, expected):
    assert previews.key(message) == expected


async def test_one_page_has_a_limited_number_of_runs_at_once(publish, make_user):
    hang = answer_with(STREAM_HEAD, then=lambda: asyncio.sleep(30))
    async with loopback(hang) as upstream:
        editor = await prepare(publish, make_user, *[upstream.url] * (MAX_RUNS + 1))
        providers = [provider.id for provider in (await live.acurrent()).providers]
        async with page_socket(editor) as socket:
            # Spelled in another way it is the same provider's test, and cancels the one before.
            for provider in (f"0{providers[0]}", *providers):
                await socket.send_to(text_data=json.dumps({"action": "test", "provider": provider}))
            assert f"{MAX_RUNS} runs of yours" in (await frames(socket, "toast", 15))[-1]
        await upstream.wait_closed(2)
    assert await Run.objects.filter(status="canceled").acount() == MAX_RUNS + 1


async def test_a_lowered_role_counts_at_once(publish, make_user):
    editor = await prepare(publish, make_user)
    other = await database_sync_to_async(make_user)("administrator", "other")

    async with page_socket(editor) as socket:
        await database_sync_to_async(accounts.change_role)(editor, "viewer", by=Actor.person(other))
        async with asyncio.timeout(3):
            while await socket.receive_from(timeout=3) != '{"event": "reload"}':
                pass
        await socket.send_to(text_data=message())
        assert "Ask an administrator" in (await frames(socket, "toast"))[-1]
        await database_sync_to_async(accounts.deactivate)(editor, by=Actor.person(other))
        async with asyncio.timeout(3):
            while await socket.receive_from(timeout=3) != '{"event": "signed_out"}':
                pass
    assert (await Template.objects.acount()) == 3


async def test_a_hint_for_a_page_that_has_just_left_is_dropped():
    """Daphne refuses to send once the page has closed its end; the consumer learns of that later."""
    sent: list[dict] = []

    async def send(message: dict) -> None:
        sent.append(message)
        raise Disconnected("Attempt to send on a closed protocol")

    consumer = PageConsumer()
    consumer.base_send = send
    await consumer.page_event({"event": "revision", "number": 3})
    assert len(sent) == 1
