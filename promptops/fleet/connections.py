"""The open sockets of servers in this process. What a socket says and hears is in `fleet.socket`."""

import asyncio
import json
from datetime import datetime

from promptops.engine.live_document import MAX_PUSHED_BYTES
from promptops.fleet.standing import HEARTBEAT_SECONDS

BAD_MESSAGE, BAD_TOKEN, NOT_ALLOWED, SILENT, RESTARTING, TRY_AGAIN = 4400, 4401, 4403, 4408, 1012, 1013
"""Close codes."""
AT_ONCE = 50
"""Sockets that get a hint before other work of the event loop has its turn."""


class Connection:
    """One open socket of a server."""

    token_id = 0
    expires_at: datetime | None = None
    loop: asyncio.AbstractEventLoop
    heard = 0.0
    """The time of the last message, by the clock of the loop."""
    is_registered = False

    wants_documents = False

    async def send_text(self, text: str, *, is_shared: bool = False) -> None:
        """Send a message, unless the socket has ended. `is_shared` says that many sockets get this very text."""
        raise NotImplementedError

    async def end(self, code: int, detail: str) -> None:
        """Say why, and close the socket."""
        raise NotImplementedError


open_connections: set[Connection] = set()


def of_running_loop() -> list[Connection]:
    """Return the sockets that the running event loop serves. Tests have several loops, a server one."""
    loop = asyncio.get_running_loop()
    return [connection for connection in open_connections if connection.loop is loop]


def hint(revision: int, epoch: str, document: str = "") -> str:
    """Return the message that says that the revision is live. `document` is its live document as JSON."""
    head = json.dumps({"type": "revision", "revision": revision, "epoch": epoch})
    return f'{head[:-1]}, "document": {document}}}' if document else head


async def hint_all(revision: int, epoch: str, body: bytes) -> None:
    """Tell all registered servers that the revision is live. `body` is its live document.

    Hundreds of servers that fetch the document at once take several times as long as one message to each.
    """
    short = hint(revision, epoch)
    whole = hint(revision, epoch, body.decode()) if len(body) <= MAX_PUSHED_BYTES else short
    # One text after the other: the frame of a text is made once (management/commands/_websocket.py).
    in_order = sorted(of_running_loop(), key=lambda connection: connection.wants_documents)
    for number, connection in enumerate(in_order, start=1):
        if connection.is_registered:
            await connection.send_text(whole if connection.wants_documents else short, is_shared=True)
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)


async def end_all(code: int, detail: str) -> None:
    """Close all sockets."""
    for connection in of_running_loop():
        await connection.end(code, detail)


async def end_those_of_token(token_id: int, detail: str) -> None:
    """Close the sockets that were opened with a token."""
    for connection in of_running_loop():
        if connection.token_id == token_id:
            await connection.end(BAD_TOKEN, detail)


async def end_silent(now: datetime) -> None:
    """Close the sockets that have sent nothing for three heartbeats, and those whose token has expired."""
    clock = asyncio.get_running_loop().time()
    for connection in of_running_loop():
        if connection.expires_at is not None and connection.expires_at <= now:
            await connection.end(BAD_TOKEN, "The token has expired. Make a new one on the Tokens page.")
        elif clock - connection.heard > 3 * HEARTBEAT_SECONDS:
            await connection.end(SILENT, f"No heartbeat for {3 * HEARTBEAT_SECONDS} seconds. Connect again.")
