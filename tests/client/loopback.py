"""A control room on loopback that speaks the protocol over real HTTP, and can be faulty."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.client.rooms import body_of, sha_of, snapshot

TOKEN = "po_right"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class ControlRoom:
    """The control room. `fault` answers `GET /api/v1/live` in its place. A proxy may open no sockets."""

    url: str = ""
    body: bytes = field(default_factory=lambda: body_of(snapshot(1)))
    opens_sockets: bool = True
    pushes: bool = True
    fault: Handler | None = None
    received: list[dict[str, Any]] = field(default_factory=list)
    authorizations: set[str] = field(default_factory=set)
    sockets: set[web.WebSocketResponse] = field(default_factory=set)
    wanting: set[web.WebSocketResponse] = field(default_factory=set)
    """The sockets that want the document with the hint."""
    fetches: int = 0
    runs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def numbers(self) -> dict[str, Any]:
        document = json.loads(self.body)
        return {"epoch": document["epoch"], "revision": document["revision"]}

    async def release(self, body: bytes) -> None:
        """Make a document live, and send hints."""
        self.body = body
        for socket in list(self.sockets):
            hint = {"type": "revision", **self.numbers}
            await socket.send_json(hint | {"document": json.loads(body)} if socket in self.wanting else hint)

    def _check(self, request: web.Request) -> None:
        self.authorizations.add(request.headers.get("Authorization", ""))
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            detail = {"detail": "This token is unknown. Make one on the Tokens page."}
            raise web.HTTPUnauthorized(text=json.dumps(detail), content_type="application/problem+json")

    async def live(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        self.fetches += 1
        if self.fault is not None:
            return await self.fault(request)
        if "wait" in request.query:
            numbers = self.numbers
            for _ in range(int(float(request.query["wait"]) * 50)):
                if (request.query["epoch"], int(request.query["after"])) != (numbers["epoch"], numbers["revision"]):
                    break
                await asyncio.sleep(0.02)
                numbers = self.numbers
        etag = f'"{sha_of(self.body)}"'
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        return web.Response(body=self.body, content_type="application/json", headers={"ETag": etag})

    async def servers(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        self.received.append(await request.json())
        return web.json_response(self.numbers)

    async def reports(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        self.runs += (await request.json())["runs"]
        return web.json_response({})

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """Answer as a provider does."""
        text = (await request.json())["messages"][-1]["content"]
        return web.json_response({"choices": [{"message": {"content": f"{text}, polished"}, "finish_reason": "stop"}]})

    async def fleet(self, request: web.Request) -> web.StreamResponse:
        if not self.opens_sockets:
            raise web.HTTPNotFound
        self._check(request)
        socket = web.WebSocketResponse(max_msg_size=16 * 1024)
        await socket.prepare(request)
        self.sockets.add(socket)
        try:
            async for frame in socket:
                message = json.loads(frame.data)
                self.received.append(message)
                if message["type"] == "register":
                    if message.get("documents") and self.pushes:
                        self.wanting.add(socket)
                    await socket.send_json({"type": "registered", **self.numbers, "heartbeat_seconds": 10})
                elif message["type"] == "heartbeat":
                    await socket.send_json({"type": "revision", **self.numbers})
        finally:
            self.sockets.discard(socket)
        return socket


@asynccontextmanager
async def control_room(**values: Any) -> AsyncGenerator[ControlRoom, None]:
    """Serve a control room on a free port."""
    room = ControlRoom(**values)
    app = web.Application()
    app.router.add_get("/api/v1/live", room.live)
    app.router.add_post("/api/v1/servers", room.servers)
    app.router.add_post("/api/v1/reports", room.reports)
    app.router.add_post("/llm/chat/completions", room.completions)
    app.router.add_get("/ws/v1/fleet", room.fleet)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    room.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    try:
        yield room
    finally:
        for socket in list(room.sockets):
            await socket.close()
        await runner.cleanup()


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
