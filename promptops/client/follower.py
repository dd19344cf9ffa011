"""Following the control room: a socket, else long polls, else polls. Every way has the same heartbeats and fetches.

The database of the control room is the truth, and a message is a hint: the follower compares numbers, fetches, swaps,
and only then acknowledges. What may replace the content belongs to `contents`; HTTP belongs to `wire`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from promptops.client.contents import Contents, Head, OlderDocument, RefusedDocument
from promptops.client.timing import Backoff, Clock, Timing
from promptops.client.wire import Socket, Unauthorized, Wire, WireError
from promptops.engine.live_document import InvalidDocument, document_bytes
from promptops.engine.snapshot import Snapshot

log = logging.getLogger(__name__)

SERVERS = "/api/v1/servers"
FETCH_TRIES = 8
"""Fetches in a row for one hint. The next heartbeat brings the hint again."""

Send = Callable[[dict[str, Any]], Awaitable[None]]
Work = Coroutine[Any, Any, None]
State: TypeAlias = Literal["ready", "stale", "offline", "refused"]


@dataclass
class Contact:
    """The state of the contact with the control room. Times are those of the clock's `monotonic`."""

    heard_at: float | None = None
    behind_since: float | None = None
    token_refusal: str = ""
    document_refusal: str = ""
    failure: str = ""
    way: str = ""
    """The way in use: "socket", "long poll", "poll", or "" for none."""

    def age(self, now: float) -> float | None:
        """Return the seconds since the control room was heard, or `None` if it never was."""
        return None if self.heard_at is None else now - self.heard_at

    def judged(self, now: float, timing: Timing) -> tuple[State, str]:
        """Return the state of following, and the reason as a sentence; "" if all is well."""
        if refusal := self.token_refusal or self.document_refusal:
            return "refused", refusal
        age = self.age(now)
        if age is None or age > timing.stale:
            return "stale", self.failure or "The control room has not been heard."
        if self.behind_since is not None and now - self.behind_since > timing.heartbeat:
            return "stale", self.failure or "The newest content has not arrived."
        return "ready", ""


@dataclass(frozen=True)
class Pushed:
    """The document of a head that came with its hint, and the number of swaps at that time."""

    head: Head
    document: dict[str, Any]
    swaps: int


@dataclass
class Follower:
    """Follows the control room with one wire, in one task. `introduction` are the fixed values of a registration."""

    wire: Wire
    contents: Contents
    introduction: dict[str, Any]
    state: Callable[[], str]
    runs_a_minute: Callable[[], float]
    clock: Clock
    timing: Timing
    contact: Contact = field(default_factory=Contact)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    """Set as soon as the control room has given its document, or refused to."""

    def __post_init__(self) -> None:
        self._wanted: Head | None = None
        self._pushed: Pushed | None = None
        self._hinted = asyncio.Event()
        self._taking = asyncio.Lock()
        self._refused: tuple[Head | None, float] | None = None
        self._heartbeat = self.timing.heartbeat
        self._backoff = Backoff(self.clock, self.timing.first_pause, self.timing.longest_pause)

    async def follow(self) -> None:
        """Follow until the task is canceled. Nothing ends it: not a refused token, not an error of its own."""
        while True:
            try:
                await self._round()
                continue
            except Unauthorized as error:
                self.contact.token_refusal = str(error)
                self.answered.set()
                pause = self.timing.unauthorized * (1 + self.clock.random()) / 2
                log.error("%s It is tried again.", error)
            except WireError as error:
                if not self._backoff.failures:
                    log.warning("%s Following goes on.", error)
                self.contact.failure = str(error)
                pause = max(self._backoff.next(), error.retry_after)
            except Exception as error:
                self.contact.failure = f"Following failed ({type(error).__name__})."
                log.exception("Following failed; it goes on")
                pause = self._backoff.next()
            self.contact.way = ""
            await asyncio.sleep(pause)

    async def _round(self) -> None:
        """Follow over a socket as long as it lasts. Without one, follow by polls until a socket is due again."""
        try:
            await self._over_socket()
        except Unauthorized:
            raise
        except WireError as error:
            if self.contact.way == "socket":
                raise
            self.contact.failure = str(error)
        await self._without_socket()

    async def _over_socket(self) -> None:
        async with self.wire.socket() as socket:
            await socket.send({**self._registration(), "documents": True})
            await self._hear_one(socket, self.timing.answer)
            self.contact.way = "socket"
            await self._together(self._hear(socket), socket.send)

    async def _without_socket(self) -> None:
        swaps = self.contents.swaps
        body = await self.wire.live(known=self.contents.current.sha256)
        self._heard(None)
        self.contact.way = "long poll"
        if body is not None:
            await self._take(body, swaps, None)
        self.answered.set()
        await self._post(self._registration())
        await self._together(self._poll(), self._post)

    async def _together(self, hearing: Work, send: Send) -> None:
        """Hear, beat and fetch until the first of them ends, and raise its error."""
        works = hearing, self._beat(send), self._fetch(send), *self._further_work(send)
        tasks = [asyncio.ensure_future(each) for each in works]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _further_work(self, send: Send) -> list[Work]:
        """Return what else is done while there is a way to the control room."""
        return []

    # Hearing

    async def _hear(self, socket: Socket) -> None:
        while True:
            await self._hear_one(socket, self.timing.silence)

    async def _hear_one(self, socket: Socket, patience: float) -> None:
        try:
            async with asyncio.timeout(patience):
                message = await socket.receive()
        except TimeoutError:
            raise WireError("The control room fell silent.") from None
        if message.get("type") == "error":
            self.contact.failure = str(message.get("detail"))[:500]
            log.error("The control room reports: %s", self.contact.failure)
            return
        self._heard(message)

    def _heard(self, message: dict[str, Any] | None) -> None:
        """Take a message as a sign of life, and the numbers in it as a hint."""
        self.contact.heard_at = self.clock.monotonic()
        self.contact.token_refusal = self.contact.failure = ""
        if message is None:
            return
        beat = message.get("heartbeat_seconds")
        if isinstance(beat, int | float) and not isinstance(beat, bool):
            self._heartbeat = min(max(1.0, float(beat)), self.timing.heartbeat)
        epoch, revision = message.get("epoch"), message.get("revision")
        if not isinstance(epoch, str) or type(revision) is not int:
            return
        head = epoch, revision
        if head == self.contents.current.head:
            self._caught_up()
        elif self.contents.is_news(head) and not self._was_refused(head):
            self._wanted = head
            self._keep_pushed(head, message.get("document"))
            self.contact.behind_since = self.contact.behind_since or self.clock.monotonic()
            self._hinted.set()
        else:
            self.answered.set()

    def _keep_pushed(self, head: Head, document: Any) -> None:
        """Keep the document that came with a hint, if it may be used without asking for it.

        One of another epoch may be older than the content, so the control room is asked. A hint without a document
        leaves the kept one: the answer to a heartbeat may overtake its use.
        """
        mine = self.contents.current
        is_whole = isinstance(document, dict) and head == (document.get("epoch"), document.get("revision"))
        if is_whole and (not mine.sha256 or mine.head[0] == head[0]):
            self._pushed = Pushed(head, document, self.contents.swaps)

    def _caught_up(self) -> None:
        self._wanted = self._pushed = None
        self.contact.behind_since = None
        self.contact.document_refusal = ""
        self.answered.set()

    async def _poll(self) -> None:
        """Poll until a socket is due again: long polls first, plain ones after the first that failed."""
        ends = self.clock.monotonic() + self.timing.socket_retry
        while (began := self.clock.monotonic()) < ends:
            current, swaps = self.contents.current, self.contents.swaps
            if self.contact.way == "long poll":
                wait = min(self.timing.long_poll, ends - began)
                try:
                    body = await self.wire.live(known=current.sha256, after=current.head, wait=wait)
                except Unauthorized:
                    raise
                except WireError as error:
                    self.contact.way, self.contact.failure = "poll", str(error)
                    continue
            else:
                body = await self.wire.live(known=current.sha256)
            self._heard(None)
            taken = body is not None and await self._take(body, swaps, self._post)
            is_quick = self.clock.monotonic() - began < 1.0
            if not taken and is_quick:  # also a control room that does not wait
                await asyncio.sleep(self.timing.poll * (1 + self.clock.random()) / 2)

    # Beating

    async def _beat(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self._heartbeat)
            await self._fetch_model()
            running = {**self._running(), "runs_a_minute": round(self.runs_a_minute(), 1)}
            await send({"type": "heartbeat", **running})
            self._backoff.reset()  # not earlier: a connection that breaks off at once is no success

    def _registration(self) -> dict[str, Any]:
        is_filtered = self.contents.filters.is_filtered(self.contents.current.snapshot.safety)
        return {"type": "register", **self.introduction, **self._running(), "filtered": is_filtered}

    def _running(self) -> dict[str, Any]:
        """Return what this server runs now, and its state."""
        content = self.contents.current
        epoch, revision = content.head
        return {
            "revision": revision if content.sha256 else None,
            "epoch": epoch,
            "sha256": content.sha256,
            "state": self.state(),
        }

    async def _post(self, message: dict[str, Any]) -> None:
        """Send a message without a socket, and take the answer as a hint."""
        if message["type"] not in ("register", "heartbeat", "applied", "refused", "drifted"):
            raise ValueError(f"Unknown message {message['type']!r}")
        names = {name: self.introduction[name] for name in ("server", "instance")}
        self._heard(await self.wire.post(SERVERS, {**names, **message}))

    # Fetching

    async def _fetch(self, send: Send) -> None:
        while True:
            await self._hinted.wait()
            self._hinted.clear()
            backoff = Backoff(self.clock, 0.2, 2.0)
            for _ in range(FETCH_TRIES):
                if self._wanted is None or not self.contents.is_news(self._wanted):
                    break
                if await self._take_pushed(send):
                    break
                swaps = self.contents.swaps
                try:
                    body = await self.wire.live(known=self.contents.current.sha256)
                except Unauthorized:
                    raise
                except WireError as error:
                    self.contact.failure = str(error)
                    await asyncio.sleep(max(backoff.next(), error.retry_after))
                    continue
                self._heard(None)
                if body is not None:
                    await self._take(body, swaps, send)
                if self._wanted is None or not self.contents.is_news(self._wanted):
                    break
                await asyncio.sleep(backoff.next())

    async def _take_pushed(self, send: Send) -> bool:
        """Take the document that came with the hint. Return whether nothing is left to fetch."""
        pushed, self._pushed = self._pushed, None
        if pushed is None or pushed.head != self._wanted:
            return False
        try:
            body = await asyncio.to_thread(document_bytes, pushed.document)
        except InvalidDocument as error:
            await self._refuse(RefusedDocument(str(error), pushed.head), send)
            return True
        await self._take(body, pushed.swaps, send)
        return self._wanted is None or not self.contents.is_news(self._wanted)

    async def _take(self, body: bytes, asked_after: int, send: Send | None) -> bool:
        """Swap in a document and acknowledge it, or report why not. Return whether the content changed."""
        async with self._taking:
            try:
                changed = await self.contents.take(body, asked_after, self._prepare)
            except OlderDocument as error:
                log.info("An older document is not used: %s", error)
                return False
            except RefusedDocument as error:
                await self._refuse(error, send)
                return False
            if self._wanted is None or not self.contents.is_news(self._wanted):
                self._caught_up()
            if changed and send is not None:
                await self._acknowledge(send)
            return changed

    async def _acknowledge(self, send: Send) -> None:
        """Report that the content that was swapped in is what runs now."""
        epoch, revision = self.contents.current.head
        sha256 = self.contents.current.sha256
        await send({"type": "applied", "revision": revision, "epoch": epoch, "sha256": sha256})

    async def _refuse(self, error: RefusedDocument, send: Send | None) -> None:
        head = error.head or self._wanted
        is_new = self._refused is None or self._refused[0] != head
        self._refused = head, self.clock.monotonic()
        self._wanted = self._pushed = None
        self.contact.document_refusal = str(error)
        self.answered.set()
        log.error("The control room's document is not used: %s", error)
        if is_new and send is not None and head is not None:
            epoch, revision = head
            await send({"type": "refused", "revision": revision, "epoch": epoch, "why": str(error)[:500]})

    def _was_refused(self, head: Head) -> bool:
        if self._refused is None or self._refused[0] != head:
            return False
        return self.clock.monotonic() - self._refused[1] < self.timing.refused

    async def _prepare(self, snapshot: Snapshot) -> None:
        """Fetch the file of the safety model before the content is used. A failure delays the content only briefly."""
        if not self.contents.filters.lacks_file(snapshot.safety):
            return
        try:
            async with asyncio.timeout(self.timing.model):
                await self.contents.filters.fetch(snapshot.safety, self.wire.model)
        except (WireError, ValueError, OSError, TimeoutError) as error:
            log.error("The safety model %d is missing: %s", snapshot.safety.model_number, error)

    async def _fetch_model(self) -> None:
        """Fetch a file that was missing when its content came."""
        snapshot = self.contents.current.snapshot
        if self.contents.filters.lacks_file(snapshot.safety):
            async with self._taking:
                await self._prepare(snapshot)
                if not self.contents.filters.lacks_file(self.contents.current.snapshot.safety):
                    self.contents.renew_guard()
