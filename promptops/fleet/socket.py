"""The socket of a server, `/ws/v1/fleet`: it registers, hears of revisions, and acknowledges them.

It is a plain ASGI application and uses no session, no channel layer and no group, so that a socket takes little memory.
A token takes the place of the check of the origin.
"""

import asyncio
import contextlib
import json
import logging
import random
from datetime import datetime
from typing import Any

from django.utils import timezone

from promptops.fleet import connections
from promptops.fleet.connections import BAD_MESSAGE, BAD_TOKEN, NOT_ALLOWED, RESTARTING, TRY_AGAIN, Connection
from promptops.fleet.messages import Heartbeat, InvalidMessage, Register, parse_text
from promptops.fleet.models import Server
from promptops.fleet.reports import reports
from promptops.fleet.standing import HEARTBEAT_SECONDS
from promptops.live import snapshots
from promptops.people.enums import Scope
from promptops.people.tokens import InvalidToken, TokenIdentity, TokensUnavailable, verify
from promptops.platform.addresses import socket_address
from promptops.platform.draining import gate
from promptops.platform.requests import facts

log = logging.getLogger(__name__)

PATH = "/ws/v1/fleet"
MOST_MESSAGES = 200
"""Messages that a server may send in three heartbeats. It needs a few for each release."""
PATIENCE = 4
"""Times that a socket waits a moment when the token cannot be verified."""
RESTARTS = "PromptOps restarts. Connect again in a moment."


class ServerSocket(Connection):
    """One open socket of a server."""

    def __init__(self, identity: TokenIdentity, address: str, send: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.heard = self.loop.time()
        self.token_id, self.expires_at = identity.id, identity.expires_at
        self.bound_to = identity.server
        self.address = address
        self.server: Server | None = None
        self.connected_at: datetime | None = None
        self.has_ended = False
        self._send = send
        self._counted_since, self._messages = self.heard, 0

    @property
    def is_registered(self) -> bool:  # type: ignore[override]
        return self.server is not None

    async def run(self, receive: Any) -> None:
        """Answer the messages of the server until the socket is closed."""
        connections.open_connections.add(self)
        try:
            while (event := await receive())["type"] != "websocket.disconnect":
                if not self.has_ended:
                    await self._answer(event.get("text"))
        finally:
            connections.open_connections.discard(self)
            # The server may have connected again before this socket was known to be dead.
            if self.server is not None and self.server.connected_at == self.connected_at:
                reports.leave(self.server, now=timezone.now())

    async def send_text(self, text: str, *, is_shared: bool = False) -> None:
        if not self.has_ended:
            await self._say(text, is_shared=is_shared)

    async def end(self, code: int, detail: str) -> None:
        if self.has_ended:
            return
        self.has_ended = True
        await self._say(json.dumps({"type": "error", "detail": detail}))
        await self._send({"type": "websocket.close", "code": code})

    async def _answer(self, text: str | None) -> None:
        self.heard = self.loop.time()
        if self.heard - self._counted_since > 3 * HEARTBEAT_SECONDS:
            self._counted_since, self._messages = self.heard, 0
        self._messages += 1
        if self._messages > MOST_MESSAGES:
            await self.end(BAD_MESSAGE, f"More than {MOST_MESSAGES} messages in 30 seconds. Send fewer.")
            return
        try:
            message = parse_text(text, is_registered=self.server is not None)
            if isinstance(message, Register):
                await self._register(message)
            elif self.server is None:
                raise InvalidMessage("Send a message of the type register first.")
            else:
                reports.hear(self.server, message, now=timezone.now())
                if isinstance(message, Heartbeat):
                    await self.send_text(connections.hint(*await _live()))
        except InvalidMessage as error:
            await self.end(BAD_MESSAGE, str(error))

    async def _register(self, message: Register) -> None:
        if self.bound_to and message.server != self.bound_to:
            await self.end(NOT_ALLOWED, f"This token belongs to the server {self.bound_to}. Use that name.")
            return
        server = reports.register(
            message, now=timezone.now(), address=self.address, token=self.token_id, has_socket=True
        )
        self.connected_at = server.connected_at
        revision, epoch = await _live()
        self.server, self.wants_documents = server, message.documents  # hints come from now on
        answer = {"type": "registered", "revision": revision, "epoch": epoch, "heartbeat_seconds": HEARTBEAT_SECONDS}
        await self._say(json.dumps(answer))

    async def _say(self, text: str, *, is_shared: bool = False) -> None:
        try:
            await self._send({"type": "websocket.send", "text": text, "is_shared": is_shared})
        except Exception:  # the server has just gone; its disconnect is on the way
            log.debug("A message could not be sent to a server.", exc_info=True)


async def _live() -> tuple[int, str]:
    snapshot = await snapshots.acurrent()
    return snapshot.revision, snapshot.epoch


async def fleet_socket(scope: Any, receive: Any, send: Any) -> None:
    """Serve one socket. A refused one is accepted first: only an open socket can say why."""
    await receive()  # websocket.connect
    address = socket_address(scope)
    if gate.closed:
        await _refuse(send, RESTARTING, RESTARTS)
        return
    try:
        identity = await _verified(_bearer(scope["headers"]))
    except InvalidToken as error:
        await _refuse(send, BAD_TOKEN, str(error))
        return
    except TokensUnavailable as error:
        await _refuse(send, TRY_AGAIN, str(error))
        return
    facts().token = identity.name
    if Scope.FOLLOW not in identity.scopes:
        await _refuse(send, NOT_ALLOWED, "This token lacks the scope follow. Make one with it on the Tokens page.")
        return
    # `is_machine`: Daphne no longer counts the connection for its address (management/commands/_websocket.py).
    await send({"type": "websocket.accept", "is_machine": True})
    await ServerSocket(identity, address, send).run(receive)


async def _verified(text: str) -> TokenIdentity:
    """Return the token. A whole fleet that connects at once waits for its turn."""
    for _ in range(PATIENCE):
        with contextlib.suppress(TokensUnavailable):
            return await verify(text)
        await asyncio.sleep(random.uniform(0.2, 1.0))  # noqa: S311 -- spreads the load, guards nothing
    return await verify(text)


def _bearer(headers: Any) -> str:
    """Return the token of the handshake; "" if there is none."""
    for name, value in headers:
        if name.lower() == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            return token.strip() if scheme.lower() == "bearer" else ""
    return ""


async def _refuse(send: Any, code: int, detail: str) -> None:
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": json.dumps({"type": "error", "detail": detail})})
    await send({"type": "websocket.close", "code": code})


def with_fleet(application: Any) -> Any:
    """Serve the sockets of servers, and hand all others to the application."""

    async def routed(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == PATH:
            await fleet_socket(scope, receive, send)
        else:
            await application(scope, receive, send)

    return routed
