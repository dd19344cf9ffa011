"""Sockets as the real server makes them: they forget the handshake, and lose nothing that is read later."""

import json
from types import SimpleNamespace

import aiohttp
import daphne.server

from promptops.management.commands._channel import BoundedFactory
from promptops.management.commands._server import DrainingServer
from promptops.management.commands._websocket import LeanFactory, LeanProtocol
from promptops.platform.addresses import socket_address
from tests.services.server import administrator, serving

HEADERS = [(b"host", b"a.example"), (b"cookie", b"sessionid=x"), (b"x-forwarded-for", b"192.0.2.9")]


def test_after_the_handshake_a_socket_keeps_only_the_address_of_its_client(settings) -> None:
    settings.BEHIND_PROXY = True
    protocol = LeanProtocol()
    protocol.server = SimpleNamespace(log_action=lambda *_: None)
    protocol.client_addr = ["127.0.0.1", 9]
    protocol.clean_headers = list(HEADERS)
    protocol.request = SimpleNamespace(path="/ws/", headers={"host": "a.example", "cookie": "sessionid=x"})
    scope = {"headers": protocol.clean_headers, "client": protocol.client_addr}
    before = socket_address(scope)
    protocol.onOpen()
    assert socket_address(scope) == before == "192.0.2.9"
    assert scope["headers"] == [(b"x-forwarded-for", b"192.0.2.9")]
    assert protocol.request.headers == {}


def test_the_server_makes_its_own_protocols(monkeypatch) -> None:
    monkeypatch.setattr(daphne.server.Server, "run", lambda self: None)
    monkeypatch.setattr(daphne.server, "HTTPFactory", None)
    monkeypatch.setattr(daphne.server, "WebSocketFactory", None)
    DrainingServer(application=None, endpoints=["tcp:port=0"]).run()
    assert (daphne.server.HTTPFactory, daphne.server.WebSocketFactory) == (BoundedFactory, LeanFactory)
    assert LeanFactory.protocol is LeanProtocol


def test_the_frame_of_a_text_for_many_sockets_is_made_once() -> None:
    factory, text = LeanFactory(SimpleNamespace()), "a hint " * 100
    written: list[bytes] = []
    for _ in range(3):
        protocol = LeanProtocol()
        protocol.factory, protocol.state, protocol.send_queue = factory, LeanProtocol.STATE_OPEN, []
        protocol._perMessageCompress = None
        protocol.transport = SimpleNamespace(write=written.append)
        protocol.handle_reply({"type": "websocket.send", "text": text, "is_shared": True})
    assert written[0] is written[1] is written[2]
    assert written[0].endswith(text.encode())
    other = factory.prepared("another hint")
    assert other.payload == b"another hint"


async def test_an_open_socket_still_answers_and_the_next_request_is_served(tmp_path) -> None:
    with serving(tmp_path) as server:
        browser = administrator(server)
        async with (
            aiohttp.ClientSession(browser.address, cookies=dict(browser.client.cookies)) as client,
            client.ws_connect("/ws/", headers={"Origin": browser.address}) as socket,
        ):
            assert json.loads(await socket.receive_str(timeout=10))["event"]
            for _ in range(3):
                await socket.send_json({"action": "unknown", "place": "here"})
                while not (answer := await socket.receive_str(timeout=10)).startswith('{"event": "refused"'):
                    assert answer
                async with client.get("/livez") as page:
                    assert page.status == 200
    assert "Traceback" not in server.output
