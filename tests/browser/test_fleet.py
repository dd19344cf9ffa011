"""A release on its way to servers, as open pages count it: real sockets of servers, and a real browser."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future

import aiohttp
import pytest
from playwright.sync_api import expect

from promptops.ledger.audit import Actor
from promptops.people.actions.tokens import make_token
from tests.browser.conftest import Pages
from tests.factories import publish as publish_by

FACTS = {"kind": "library", "state": "ready", "filtered": True, "documents": True}


class Servers:
    """Two servers in a thread. They acknowledge a release only when the test lets them."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.sockets: dict[str, aiohttp.ClientWebSocketResponse] = {}

    def call(self, coroutine) -> object:
        future: Future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        return future.result(15)

    async def connect(self, name: str) -> None:
        session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.token}"})
        socket = await session.ws_connect(f"{self.url.replace('http', 'ws')}/ws/v1/fleet", max_msg_size=0)
        await socket.send_json({"type": "register", "server": name, "instance": "1", "revision": None, **FACTS})
        assert (await socket.receive_json(timeout=10))["type"] == "registered"
        self.sockets[name] = socket
        self.sessions = [*getattr(self, "sessions", []), session]

    async def apply(self, name: str) -> None:
        """Wait for the hint of the first release and acknowledge it."""
        while (hint := await self.sockets[name].receive_json(timeout=10))["revision"] < 1:
            pass  # what was live before
        runs = {key: hint["document"][key] for key in ("revision", "epoch", "sha256")}
        await self.sockets[name].send_json({"type": "applied", **runs})

    async def close(self) -> None:
        for session in self.sessions:
            await session.close()


@pytest.fixture
def servers(pages: Pages, actor) -> Iterator[Servers]:
    _, token = make_token("fleet", ["follow"], by=actor)
    connected = Servers(pages.url, token)
    for name in ("gpu-1", "gpu-2"):
        connected.call(connected.connect(name))
    try:
        yield connected
    finally:
        connected.call(connected.close())
        connected.loop.call_soon_threadsafe(connected.loop.stop)


def test_a_release_is_counted_up_on_open_pages(publish, releaser, viewer, page_for, pages: Pages, servers) -> None:
    fleet = pages.connected(page_for(viewer, "/fleet/"))
    expect(fleet.locator("#fleet-count")).to_contain_text("0 of 2")
    publish_by("enhance", "Text", by=Actor.person(releaser))
    released = pages.connected(page_for(releaser, "/prompts/"))
    banner = released.locator("#rollout-banner")
    expect(banner).to_contain_text("0 of 2 servers")
    servers.call(servers.apply("gpu-1"))
    expect(banner).to_contain_text("1 of 2 servers")
    expect(fleet.locator("#fleet-count")).to_contain_text("1 of 2")
    servers.call(servers.apply("gpu-2"))
    expect(banner).to_contain_text("2 of 2 servers")
    expect(banner).to_contain_text("slowest")
    expect(fleet.locator("tr", has_text="gpu-2")).to_contain_text("Current")
    expect(fleet.locator("#fleet-count .ok")).to_contain_text("2 of 2")
