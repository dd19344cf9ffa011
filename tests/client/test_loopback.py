"""Following over real HTTP and sockets, and every fault of a control room: it is never seen by a run."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from aiohttp import web

from promptops.client import LiveEnhancer, Timing
from promptops.client import wire as wires
from promptops.client.wire import HttpWire, Unauthorized, WireError, checked_url
from promptops.engine.live_document import MAX_PUSHED_BYTES
from tests.client.loopback import TOKEN, ControlRoom, control_room, until
from tests.client.rooms import body_of, sha_of, snapshot
from tests.client.test_client_runs import Model

QUICK = Timing(
    first_pause=0.01, longest_pause=0.05, poll=0.02, heartbeat=0.2, unauthorized=0.05, refused=0.1, reports=0.05
)


def following(room: ControlRoom, token: str = TOKEN, **further) -> LiveEnhancer:
    values = {"server": "gpu-7", "timing": QUICK, "providers": [Model()], "start_timeout": 1.0} | further
    return LiveEnhancer(room.url, token, **values)


@pytest.mark.parametrize("opens_sockets", [True, False])
async def test_a_release_arrives_and_is_acknowledged(opens_sockets):
    async with control_room(opens_sockets=opens_sockets) as room, following(room) as live:
        assert live.state.state == "ready"
        assert live.state.way == ("socket" if opens_sockets else "long poll")
        await room.release(body_of(snapshot(2)))
        await until(lambda: any(message["type"] == "applied" and message["revision"] == 2 for message in room.received))
        assert (await live.enhance("a fox")).sha256 == sha_of(room.body)
        await until(lambda: room.runs)
    assert room.runs[0]["revision"] == 2


async def test_a_long_document_comes_with_its_hint():
    long = body_of(snapshot(2, text="Ein roter Fuchs läuft. " * 1_500))
    assert 64 * 1024 < len(long) <= MAX_PUSHED_BYTES
    async with control_room() as room, following(room) as live:
        fetches = room.fetches
        await room.release(long)
        await until(lambda: any(message["type"] == "applied" and message["revision"] == 2 for message in room.received))
        assert live.state.sha256 == sha_of(long)
        assert room.fetches == fetches


async def test_a_control_room_that_comes_back_finds_the_server_again():
    async with control_room() as room, following(room) as live:
        for socket in list(room.sockets):
            await socket.close()
        room.body = body_of(snapshot(2))
        await until(lambda: live.state.revision == 2)


async def drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.01)


async def hang(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def broken(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"format": 1')
    request.transport.close()
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 1024 * 1024)


def answer(status: int, text: str = "", **headers: str):
    async def fault(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text, headers=headers)

    return fault


FAULTS = {
    "drip": drip,
    "hang": hang,
    "broken": broken,
    "endless": endless,
    "500": answer(500, "<h1>Oops</h1>"),
    "429": answer(429, **{"Retry-After": "1"}),
    "302": answer(302, Location="https://evil.example/"),
    "204": answer(204),
    "garbage": answer(200, "\x00\x01{"),
    "nested": answer(200, "[" * 100_000),
    "lower": answer(200, body_of(snapshot(1)).decode()),
}


@pytest.mark.parametrize("opens_sockets", [True, False])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_changes_nothing_and_heals(fault, opens_sockets, monkeypatch):
    monkeypatch.setattr(wires, "CALL_SECONDS", 0.2)
    monkeypatch.setattr(wires, "MAX_BYTES", 256 * 1024)
    room_at_r5 = control_room(body=body_of(snapshot(5)), opens_sockets=opens_sockets, pushes=False)
    async with room_at_r5 as room, following(room) as live:
        assert live.state.revision == 5
        room.fault = FAULTS[fault]
        await room.release(body_of(snapshot(6)))
        await asyncio.sleep(0.4)
        assert live.state.revision == 5
        assert (await live.enhance("a fox")).revision == 5
        room.fault = None
        await until(lambda: live.state.revision == 6)
        await until(lambda: live.state.state == "ready")


async def test_a_wrong_token_is_refused_in_words_and_never_shown(caplog):
    caplog.set_level(logging.DEBUG)
    async with control_room() as room, following(room, "po_wrong_secret") as live:
        await until(lambda: live.state.state == "refused")
        assert "refuses the token" in live.state.reason
        assert (await live.enhance("a fox")).revision == 0
        assert "po_wrong_secret" not in caplog.text + live.state.reason + repr(live._following.wire)


async def test_a_token_that_is_renewed_is_used():
    tokens = ["po_old"]
    async with control_room() as room, following(room, lambda: tokens[0]) as live:
        assert live.state.state == "refused"
        tokens[0] = TOKEN
        await until(lambda: live.state.state == "ready")


async def test_a_refused_connection_never_reaches_a_run():
    async with control_room() as room:
        pass
    async with following(room, texts={"enhance": "Polish."}) as live:
        assert live.state.state == "stale"
        assert (await live.enhance("a fox")).content == "a fox by Polish."


@pytest.mark.parametrize("frame", ["not json", "[]", '{"type": "revision", "revision": "x", "epoch": 1}', "x" * 20_000])
async def test_a_socket_that_sends_nonsense_is_survived(frame):
    async with control_room() as room, following(room) as live:
        for socket in list(room.sockets):
            await socket.send_str(frame)
        await room.release(body_of(snapshot(2)))
        await until(lambda: live.state.revision == 2)


async def test_a_socket_closed_for_the_token_counts_as_refused():
    async with control_room() as room, following(room, timing=Timing(reports=60)) as live:
        for socket in list(room.sockets):
            await socket.close(code=4401)
        await until(lambda: live.state.state == "refused")


async def test_the_wire_raises_nothing_but_its_own_errors():
    async with control_room() as room:
        wire = HttpWire(room.url, "po_x")
        with pytest.raises(Unauthorized, match="Make one on the Tokens page"):
            await wire.live(known="")
        await wire.close()
        wire = HttpWire(room.url, TOKEN)
        with pytest.raises(WireError) as raised:
            await wire.model(7)
        assert raised.value.is_final
        assert await wire.live(known=sha_of(room.body)) is None
        assert json.loads(await wire.live(known=""))["revision"] == 1
        await wire.close()


@pytest.mark.parametrize(
    "url", ["", "prompts.example.com", "ftp://x", "http://", "http://a:b@x", "http://x/?a=1", "http://169.254.169.254"]
)
def test_an_invalid_address_is_refused_at_once(url):
    with pytest.raises(ValueError, match=r"\w"):
        checked_url(url)
