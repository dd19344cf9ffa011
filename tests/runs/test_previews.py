"""Previews and provider tests over the socket, against a real loopback provider."""

import asyncio
import json
import logging

import pytest
from autobahn.exception import Disconnected
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer

from promptops.engine import FAULTS
from promptops.ledger.audit import Actor
from promptops.ledger.models import AuditEntry, LiveConfiguration
from promptops.live import snapshots as live
from promptops.people import actions as accounts
from promptops.platform import events
from promptops.prompts.models import Template
from promptops.providers.actions.providers import ProviderFields, create_provider
from promptops.providers.models import Provider
from promptops.runs import previews
from promptops.runs.models import Attempt, Run
from promptops.runs.socket import MAX_RUNS, running
from promptops.web import socket as page_sockets
from promptops.web.socket import PageConsumer
from tests.engine.helpers import STREAM_END, STREAM_HEAD, answer_with, delta, event, http_answer, loopback, part
from tests.web.sockets import page_socket

pytestmark = pytest.mark.django_db(transaction=True)

DONE = part(event("[DONE]")) + STREAM_END
KEY = "sk-very-secret-key"


def streamed(*texts: str) -> list[bytes]:
    return [STREAM_HEAD, *(part(delta(text)) for text in texts), part(delta(finish="stop")), DONE]


async def prepare(publish, make_user, *urls: str):
    """A template per operation, a provider per URL, and an editor."""

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
    """The HTML frames up to the one that holds `until`; hints are passed over."""
    found = []
    async with asyncio.timeout(seconds):
        while True:
            text = await socket.receive_from(timeout=seconds)
            if not text.startswith("{"):
                found.append(text)
                if until in text:
                    return found


async def test_text_streams_in_and_the_run_is_recorded(publish, make_user):
    async with loopback(answer_with(*streamed("A red ", "fox <b>", " runs."))) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message(temperature="0.2", max_tokens="99"))
            html = await frames(socket, "/runs/")
    texts = [frame for frame in html if "beforeend:#try-text" in frame]
    assert len(texts) >= 2
    assert "fox &lt;b&gt;" in "".join(texts)
    assert "A red fox &lt;b&gt; runs." in html[-1]
    sent = upstream.requests[0].body
    assert [part["content"] for part in sent["messages"]] == ["My text.", "a fox"]
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("m1", 0.2, 99)
    run = await Run.objects.select_related("user", "template").aget()
    assert (run.status, run.output, run.input) == ("succeeded", "A red fox <b> runs.", "a fox")
    assert (run.user, run.template.name, run.version, run.draft_body) == (editor, "enhance", None, "My text.")
    assert (run.provider, run.model, run.fallback_used, run.temperature) == ("p1", "m1", False, 0.2)
    assert run.revision == (await live.acurrent()).revision
    attempt = await Attempt.objects.aget()
    assert (attempt.outcome, attempt.provider) == ("succeeded", "p1")
    assert attempt.first_text_ms is not None


async def test_a_failing_provider_falls_back_and_the_sentence_says_so_without_the_key(publish, make_user):
    broken = answer_with(http_answer({"error": {"message": f"bad key {KEY}"}}, status=503))
    async with loopback(broken) as first, loopback(answer_with(*streamed("Fine."))) as second:
        editor = await prepare(publish, make_user, first.url, second.url)
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message())
            html = "".join(await frames(socket, "/runs/"))
    assert "fallback used" in html
    assert "503" in html
    assert KEY not in html
    run = await Run.objects.aget()
    assert (run.provider, run.fallback_used) == ("p2", True)
    assert [attempt.outcome async for attempt in Attempt.objects.all()] == ["failed", "succeeded"]
    assert KEY not in str([vars(attempt) async for attempt in Attempt.objects.all()])


@pytest.mark.parametrize("falls_back", [False, True])
async def test_a_refused_key_that_is_echoed_is_on_no_page_in_no_record_and_no_log(
    falls_back, publish, make_user, client_for, caplog
):
    caplog.set_level(logging.DEBUG)
    echo = answer_with(http_answer({"error": {"message": f"Incorrect API key provided: {KEY}"}}, 401))
    async with loopback(echo) as first, loopback(answer_with(*streamed("Fine."))) as second:
        editor = await prepare(publish, make_user, first.url, second.url)
        await Provider.objects.filter(name="p1").aupdate(fall_back_on_auth=falls_back)
        live.forget()
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message())
            shown = await frames(socket, "/runs/")
        assert (len(first.requests), len(second.requests)) == (1, int(falls_back))
    assert live.health.view("p1").misconfigured

    def everything() -> str:
        run, client = Run.objects.get(), client_for(editor)
        assert run.status == ("succeeded" if falls_back else "failed")
        addresses = ["/", "/providers/", "/runs/", f"/runs/{run.pk}/", "/audit/"]
        pages = [client.get(address).content.decode() for address in addresses]
        assert "Incorrect API key provided: [key]" in pages[3]
        tables = [list(model.objects.values()) for model in (Run, Attempt, AuditEntry)]
        return f"{pages} {tables} {live.health.view('p1')}"

    assert KEY not in await database_sync_to_async(everything)()
    assert KEY not in "".join(shown)
    assert KEY not in caplog.text


async def test_when_all_fail_the_error_is_a_sentence_and_is_recorded(publish, make_user):
    async with loopback(answer_with(http_answer("busy", status=503, content_type="text/plain"))) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message())
            html = (await frames(socket, "/runs/"))[-1]
    assert 'role="alert"' in html
    assert "p1" in html
    run = await Run.objects.aget()
    assert run.status == "failed"
    assert "503" in run.error


async def test_a_stream_that_is_cut_is_no_answer(publish, make_user):
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


async def test_a_run_takes_the_place_of_the_one_before_and_a_refused_one_does_not(publish, make_user):
    hang = answer_with(STREAM_HEAD, part(delta("A red ")), then=lambda: asyncio.sleep(30))
    async with loopback(hang) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message())
            await frames(socket, "A red")
            await socket.send_to(text_data=message(input=" "))
            await frames(socket, "Type an input first")
            assert running[editor.pk] == 1
            await socket.send_to(text_data=message(input="a hen"))
            assert "Canceled" not in "".join(await frames(socket, "A red"))
            assert [(run.input, run.status) async for run in Run.objects.all()] == [("a fox", "canceled")]


async def test_a_page_that_goes_away_cancels_its_run(publish, make_user):
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
    assert '<li dir="auto">First way</li><li dir="auto">Second way</li>' in html
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
        await socket.send_to(text_data=message(**fields, place="try-result"))
        assert sentence in (await frames(socket, "toast"))[-1]
        assert json.loads(await socket.receive_from(timeout=5)) == {"event": "refused", "place": "try-result"}
    assert not await Run.objects.aexists()


@pytest.mark.parametrize("text", ["[]", "null", "{", "[" * 100_000, "x" * 600_000])
async def test_what_is_no_message_is_refused(publish, make_user, text):
    editor = await prepare(publish, make_user)
    async with page_socket(editor) as socket:
        await socket.send_to(text_data=text)
        assert "could not be read" in (await frames(socket, "toast"))[-1]


async def test_without_a_provider_the_sentence_says_what_to_do(publish, make_user):
    editor = await prepare(publish, make_user)
    async with page_socket(editor) as socket:
        await socket.send_to(text_data=message())
        assert "Turn one on" in (await frames(socket, "/runs/"))[-1]


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


async def test_a_provider_without_a_model_asks_for_the_prompts(publish, make_user):
    async with loopback(answer_with(*streamed("Fine."))) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        await Provider.objects.aupdate(model="")
        await database_sync_to_async(live.refresh)()
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message())
            assert "p1 has no model" in (await frames(socket, "/runs/"))[-1]
            await socket.send_to(text_data=message(model="prompts-own"))
            await frames(socket, "/runs/")
    assert [request.body["model"] for request in upstream.requests] == ["prompts-own"]


async def test_a_drill_shows_the_chain_coping_and_leaves_no_mark_but_in_the_audit(publish, make_user):
    async with (
        loopback(answer_with(*streamed("Never asked."))) as first,
        loopback(answer_with(*streamed("Fine."))) as second,
    ):
        editor = await prepare(publish, make_user, first.url, second.url)
        pk = (await live.acurrent()).providers[0].id
        async with page_socket(editor) as socket:
            for _ in range(6):  # more failures than open a breaker
                await socket.send_to(text_data=message(fault="503", faulty=str(pk)))
                html = (await frames(socket, "/runs/"))[-1]
            await socket.send_to(text_data=message(fault="503", faulty="999"))
            assert "not in this run" in (await frames(socket, "toast"))[-1]
    assert "503 in p1" in html
    assert "fallback used" in html
    assert (len(first.requests), len(second.requests)) == (0, 6)
    assert live.health.view("p1").state == "closed"
    run = await Run.objects.afirst()
    assert (run.drill, run.provider, run.fallback_used) == ("503 in p1", "p2", True)
    assert await AuditEntry.objects.filter(action="run.drilled", actor=editor).acount() == 6


async def test_a_drill_leaves_a_provider_alone_that_is_cooling_down(publish, make_user):
    limited = answer_with(http_answer("slow down", 429).replace(b"X\r\n", b"X\r\nRetry-After: 60\r\n", 1))
    good = answer_with(*streamed("Fine."))
    async with loopback(limited) as first, loopback(good) as second, loopback(good) as third:
        editor = await prepare(publish, make_user, first.url, second.url, third.url)
        pk = (await live.acurrent()).providers[1].id
        async with page_socket(editor) as socket:
            for fault in ("", *FAULTS[:2]):
                await socket.send_to(text_data=message(fault=fault, faulty=str(pk) if fault else ""))
                await frames(socket, "/runs/")
        assert (len(first.requests), len(second.requests), len(third.requests)) == (1, 1, 2)
        run = await Run.objects.afirst()
        assert [attempt.provider async for attempt in run.attempts.order_by("position")] == ["p2", "p3"]


async def test_runs_are_told_of_once_a_second(publish, make_user, monkeypatch):
    monkeypatch.setattr(page_sockets, "SECONDS_BETWEEN_RUNS", 0.3)
    editor = await prepare(publish, make_user)
    async with page_socket(editor) as socket:
        await asyncio.sleep(0.1)
        while not await socket.receive_nothing(timeout=0.1):
            await socket.receive_from()
        for number in range(101, 111):
            await get_channel_layer().group_send(events.PAGES, events.message(events.RUN_RECORDED, number))
        told = []
        while not await socket.receive_nothing(timeout=0.6):
            told.append(json.loads(await socket.receive_from()))
    assert [(each["event"], each["number"]) for each in told][-1] == ("runs", 110)
    assert len(told) == 2  # one at once, and the newest of the others


async def test_failures_open_the_breaker_for_all_runs_and_an_edit_forgets_them(publish, make_user):
    broken = answer_with(http_answer("busy", status=503, content_type="text/plain"))
    async with loopback(broken) as first, loopback(answer_with(*streamed("Fine."))) as second:
        editor = await prepare(publish, make_user, first.url, second.url)
        async with page_socket(editor) as socket:
            for _ in range(6):
                await socket.send_to(text_data=message())
                await frames(socket, "/runs/")
            assert live.health.view("p1").state == "open"
            assert len(first.requests) == 5
            await database_sync_to_async(publish)("rewrite", "Another text.")
            await database_sync_to_async(live.refresh)()
            assert live.health.view("p1").state == "open"  # it survives a new revision
            await Provider.objects.filter(name="p1").aupdate(model="other")
            await database_sync_to_async(live.refresh)()
            assert live.health.view("p1").state == "closed"


async def test_a_hedged_operation_asks_the_next_provider_beside_a_slow_one(publish, make_user):
    hang = answer_with(STREAM_HEAD, then=lambda: asyncio.sleep(30))
    async with loopback(hang) as slow, loopback(answer_with(*streamed("Quick."))) as quick:
        editor = await prepare(publish, make_user, slow.url, quick.url)
        # The budget is a tenth of the calls: ten runs save up one hedge.
        for _ in range(10):
            live.health.count_run(0.1)
        await LiveConfiguration.objects.aupdate(hedge_enhance="50")
        await database_sync_to_async(live.refresh)()
        assert (await live.acurrent()).settings.hedge_after_ms == {"enhance": 50}
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message())
            assert "Quick." in (await frames(socket, "/runs/"))[-1]
        await slow.wait_closed(1)
    attempts = [(attempt.provider, attempt.outcome, attempt.hedge) async for attempt in Attempt.objects.all()]
    assert attempts == [("p1", "canceled", False), ("p2", "succeeded", True)]


async def test_cost_and_usage_are_kept(publish, make_user):
    usage = event({"choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 500}})
    pieces = [STREAM_HEAD, part(delta("Fine.")), part(delta(finish="stop")), part(usage), DONE]
    async with loopback(answer_with(*pieces)) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        await Provider.objects.aupdate(price_input=1.0, price_output=2.0)
        await database_sync_to_async(live.refresh)()
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message())
            assert "$0.002" in (await frames(socket, "/runs/"))[-1]
    run, attempt = await Run.objects.aget(), await Attempt.objects.aget()
    assert (run.cost, run.cost_estimated, attempt.cost) == (pytest.approx(0.002), False, pytest.approx(0.002))
    assert (attempt.input_tokens, attempt.output_tokens, attempt.finish_reason) == (1000, 500, "stop")


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
def test_what_a_message_is_about(message, expected):
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


async def test_testing_a_provider_says_how_it_went(publish, make_user):
    async with loopback(answer_with(*streamed("It works."))) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        pk = (await live.acurrent()).providers[0].id
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=json.dumps({"action": "test", "provider": str(pk)}))
            html = (await frames(socket, "/runs/"))[-1]
    assert f"test-result-{pk}" in html
    assert "It works." in html
    run = await Run.objects.aget()
    assert (run.source, run.template, run.max_tokens) == ("test", None, 64)


async def test_a_role_that_is_taken_away_counts_at_once(publish, make_user):
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
    """Daphne refuses to send once the page has closed its end, which its consumer reads of only afterwards."""
    sent: list[dict] = []

    async def send(message: dict) -> None:
        sent.append(message)
        raise Disconnected("Attempt to send on a closed protocol")

    consumer = PageConsumer()
    consumer.base_send = send
    await consumer.page_event({"event": "revision", "number": 3})
    assert len(sent) == 1
