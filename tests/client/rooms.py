"""A control room in memory: its documents, its sockets, and a network that can lose, double and delay messages."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from promptops.client.wire import Unauthorized, WireError
from promptops.engine.live_document import document_bytes, live_document
from promptops.engine.operations import OPERATIONS
from promptops.engine.snapshot import ProviderSpec, Snapshot, TemplateSpec

LINK_SECONDS = 0.01


def snapshot(revision: int = 1, epoch: str = "e1", text: str = "", **further: Any) -> Snapshot:
    """Return a live configuration whose text of each operation names its epoch and revision."""
    templates = tuple(
        TemplateSpec(
            id=place,
            name=name,
            operation=name,
            version_id=place,
            version_number=revision,
            body=text or f"{name} {epoch} r{revision}",
            temperature=None,
            max_tokens=None,
            model=None,
            sha256=hashlib.sha256(f"{name}{epoch}{revision}".encode()).hexdigest(),
        )
        for place, name in enumerate(OPERATIONS, 1)
    )
    providers = (ProviderSpec(1, "groq", "groq", "https://api.groq.com/openai/v1", "m", None),)
    values = {"providers": providers, "epoch": epoch} | further
    return Snapshot(revision, templates, {each.operation: each.id for each in templates}, **values)


def body_of(configuration: Snapshot) -> bytes:
    """Return the document of a configuration."""
    return document_bytes(live_document(configuration))


def sha_of(body: bytes) -> str:
    """Return the SHA-256 that a document names."""
    return json.loads(body)["sha256"]


@dataclass
class Network:
    """The fate of messages. `fate` returns what becomes of a hint: its copies, each with a delay in seconds."""

    is_cut: bool = False
    opens_sockets: bool = True
    waits: bool = True
    pushes: bool = True
    """Hints of a release have its document, for those who ask for it."""
    token_is_valid: bool = True
    fate: Callable[[], list[float]] = lambda: [LINK_SECONDS]
    fetch_delay: Callable[[], float] = lambda: LINK_SECONDS

    def check(self) -> None:
        """Raise what a call gets."""
        if self.is_cut:
            raise WireError("The control room cannot be reached.")
        if not self.token_is_valid:
            raise Unauthorized("The control room refuses the token.")


@dataclass
class Room:
    """The control room. `body` may be replaced by anything. `received` are the messages of servers, with the time."""

    body: bytes = b""
    head: tuple[str, int] = ("e1", 1)
    received: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    batches: list[dict[str, Any]] = field(default_factory=list)
    fetches: int = 0
    report_error: WireError | None = None
    models: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sockets: set[MemorySocket] = set()
        self.changed = asyncio.Event()
        self.put(snapshot(self.head[1], self.head[0])) if not self.body else None

    def put(self, configuration: Snapshot) -> None:
        """Make a configuration live, and send hints."""
        self.serve(body_of(configuration), (configuration.epoch, configuration.revision))

    def serve(self, body: bytes, head: tuple[str, int]) -> None:
        """Serve any body under any numbers, and send hints."""
        self.body, self.head = body, head
        self.changed.set()
        self.changed = asyncio.Event()
        for socket in list(self.sockets):
            socket.hint("revision", with_document=True)

    def release(self, **further: Any) -> None:
        """Release the next revision."""
        epoch, revision = self.head
        self.put(snapshot(revision + 1, epoch, **further))

    def restore(self, epoch: str, revision: int) -> None:
        """Restore a backup: another epoch, with a lower revision or not."""
        self.put(snapshot(revision, epoch))

    def messages(self, type: str) -> list[dict[str, Any]]:
        """Return the messages of one type."""
        return [message for _, message in self.received if message["type"] == type]


class MemorySocket:
    """A socket to the room."""

    def __init__(self, room: Room, network: Network) -> None:
        self.room, self.network = room, network
        self.inbox: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.wants_documents = False

    def hint(self, type: str, with_document: bool = False) -> None:
        """Send the numbers of now, if the network lets them through."""
        if self.network.is_cut:
            return
        message = {"type": type, "epoch": self.room.head[0], "revision": self.room.head[1], "heartbeat_seconds": 10}
        if with_document and self.wants_documents and self.network.pushes:
            with suppress(ValueError):
                message["document"] = json.loads(self.room.body)
        loop = asyncio.get_running_loop()
        for delay in self.network.fate():
            loop.call_later(delay, self._arrive, message)

    def _arrive(self, message: dict[str, Any]) -> None:
        if not self.network.is_cut:
            self.inbox.put_nowait(message)

    def drop(self) -> None:
        """Close the socket from the room's side."""
        self.inbox.put_nowait(None)

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message. A cut network swallows it, as TCP does for a while."""
        if self.network.is_cut:
            return
        self.room.received.append((asyncio.get_running_loop().time(), json.loads(json.dumps(message))))
        if message["type"] == "register":
            self.wants_documents = message.get("documents") is True
            self.hint("registered")
        elif message["type"] == "heartbeat":
            self.hint("revision")

    async def receive(self) -> dict[str, Any]:
        """Return the next message."""
        message = await self.inbox.get()
        if message is None:
            raise WireError("The socket was closed.")
        return message


class MemoryWire:
    """A wire to the room. `checks` are called with each acknowledgement at the moment when it is sent."""

    def __init__(self, room: Room, network: Network, sending: Callable[[dict[str, Any]], None] = lambda _: None):
        self.room, self.network, self.sending = room, network, sending
        self.is_closed = False

    async def live(self, *, known: str, after: Any = None, wait: float = 0.0) -> bytes | None:
        """Return the document of now."""
        self.network.check()
        self.room.fetches += 1
        if after is not None and self.network.waits and after == self.room.head:
            try:
                async with asyncio.timeout(wait):
                    await self.room.changed.wait()
            except TimeoutError:
                return None
        body = self.room.body
        await asyncio.sleep(self.network.fetch_delay())
        self.network.check()
        return None if known and f'"sha256":"{known}"'.encode() in body else body

    async def post(self, path: str, message: dict[str, Any]) -> dict[str, Any]:
        """Take a message or a batch of reports."""
        self.network.check()
        if not path.endswith("/reports"):
            self.sending(message)
        await asyncio.sleep(LINK_SECONDS)
        self.network.check()
        if path.endswith("/reports"):
            if self.room.report_error:
                raise self.room.report_error
            self.room.batches.append(json.loads(json.dumps(message)))
            return {}
        self.room.received.append((asyncio.get_running_loop().time(), message))
        return {"epoch": self.room.head[0], "revision": self.room.head[1]}

    async def model(self, number: int) -> bytes:
        """Return a model's file."""
        self.network.check()
        if number not in self.room.models:
            raise WireError("The control room answered HTTP 404.", is_final=True)
        return self.room.models[number]

    @asynccontextmanager
    async def socket(self) -> AsyncGenerator[MemorySocket, None]:
        """Open a socket."""
        self.network.check()
        if not self.network.opens_sockets:
            raise WireError("The control room opens no socket: HTTP 404.")
        socket = MemorySocket(self.room, self.network)
        send = socket.send

        async def checked(message: dict[str, Any]) -> None:
            self.sending(message)
            await send(message)

        socket.send = checked  # type: ignore[method-assign]
        self.room.sockets.add(socket)
        try:
            yield socket
        finally:
            self.room.sockets.discard(socket)

    async def close(self) -> None:
        """Close everything."""
        self.is_closed = True


def changed(configuration: Snapshot, **fields: Any) -> Snapshot:
    """Return the configuration with other fields."""
    return replace(configuration, **fields)
