"""Previews and the chain: fallback, drills, breakers, hedging, cost, and the test of one provider."""

import asyncio
import json
import logging

import pytest
from channels.db import database_sync_to_async

from promptops.engine import FAULTS
from promptops.ledger.models import AuditEntry
from promptops.live import snapshots as live
from promptops.prompts.models import Operation
from promptops.providers.models import Provider
from promptops.runs.models import Attempt, Run
from tests.engine.helpers import STREAM_HEAD, answer_with, delta, event, http_answer, loopback, part
from tests.runs.test_previews import DONE, KEY, frames, message, prepare, streamed
from tests.web.sockets import page_socket

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_failing_provider_falls_back_and_the_page_says_so_without_the_key(publish, make_user):
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


async def test_without_a_provider_the_sentence_says_what_to_do(publish, make_user):
    editor = await prepare(publish, make_user)
    async with page_socket(editor) as socket:
        await socket.send_to(text_data=message())
        assert "Turn one on" in (await frames(socket, "/runs/"))[-1]


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


async def test_a_drill_falls_back_and_is_only_in_the_audit(publish, make_user):
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


async def test_a_drill_skips_a_provider_that_cools_down(publish, make_user):
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
        await Operation.objects.filter(name="enhance").aupdate(hedge="50")
        await database_sync_to_async(live.refresh)()
        assert (await live.acurrent()).operation("enhance").hedge == "50"
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message())
            assert "Quick." in (await frames(socket, "/runs/"))[-1]
        await slow.wait_closed(1)
    attempts = [(attempt.provider, attempt.outcome, attempt.hedge) async for attempt in Attempt.objects.all()]
    assert attempts == [("p1", "canceled", False), ("p2", "succeeded", True)]


async def test_cost_and_usage_are_recorded(publish, make_user):
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


async def test_a_provider_test_shows_its_result(publish, make_user):
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
