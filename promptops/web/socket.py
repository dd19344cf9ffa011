"""The one socket of an open page: hints to the page, and messages from it that features answer.

Hints are JSON (`{"event": "revision", "number": 13}`); parts of the page are HTML that htmx swaps out of band. The
person and their permission are checked again for every message. What a feature does on a page is a `PagePart` of its
own.
"""

import asyncio
import contextlib
import json
import logging
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from autobahn.exception import Disconnected
from channels.consumer import get_handler_name
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import Error
from django.template.loader import render_to_string

from promptops.ledger.actions.trail import record_refusal
from promptops.ledger.audit import Actor
from promptops.live import polling
from promptops.people.enums import Permission
from promptops.people.models import User
from promptops.platform import events, outages
from promptops.platform.addresses import socket_address
from promptops.platform.requests import facts
from promptops.web.access import refusal
from promptops.web.fragments import FRAGMENTS, NOTHING, Numbers, fragments, is_newer, readers, shown_numbers
from promptops.web.middleware import zone_of
from promptops.web.readers import read_for

log = logging.getLogger(__name__)

MAX_MESSAGE = 512 * 1024
SIGNED_OUT = 4401  # the close code; 4000 to 4999 are for applications (RFC 6455, section 7.4.2)
TOO_MANY = 4429  # the close code for one page too many; the page waits longer before it retries


pages_of: Counter[int] = Counter()  # by user id: open pages in this process
SECONDS_BETWEEN_PUSHES = 1.0  # between two times that parts of a page are sent to it

open_pages: "weakref.WeakSet[PageConsumer]" = weakref.WeakSet()  # of this process
FEW_PAGES = 20
SPREAD_MS = 10
"""Milliseconds for each open page: a fragment takes the server about 10 ms."""
MAX_SPREAD_MS = 6_000


class PagePart:
    """The part of one feature on one open page. It answers the messages whose action it names."""

    actions: Mapping[str, Permission | None] = {}
    """The messages that the part answers, each with its permission; None for everybody who is signed in."""

    def __init__(self, page: "PageConsumer") -> None:
        self.page = page

    def read(self, user: User, data: dict[str, Any]) -> Any:
        """Return what `do` needs from the database. Raises ValidationError with the reason if the message is refused.

        This is called in the thread that has looked up the person (`web.readers`).
        """

    async def do(self, user: User, data: dict[str, Any], read: Any) -> None:
        """Do what the message asks, with the result of `read`. Raises ValidationError like `read`."""

    async def arrive(self, user: User, data: dict[str, Any]) -> None:
        """Take note of what the page shows."""

    async def hear(self, event: str) -> None:
        """Handle an event that pages may have to show."""

    async def stop(self) -> None:
        """End what is in progress for the person, who is signed out."""

    async def close(self) -> None:
        """End what is in progress for the page, which is closed."""


class PageConsumer(AsyncWebsocketConsumer):
    """The socket of one open page."""

    def __init__(self, *args: Any, parts: Sequence[type[PagePart]] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parts = [part(self) for part in parts]
        self.ended = False
        self.user_id = 0  # 0 until the socket counts as somebody's page
        self.heads: dict[str, int] = {}  # what the page got when it connected
        self.epoch = ""  # the line of history of these numbers
        self.shown: dict[str, Numbers] = {}  # parts that are sent to the page, with the numbers that they show
        self.pushing: asyncio.Task[None] | None = None
        self.push_again = False
        open_pages.add(self)

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Handle a message. Channels would first close old connections in a thread, for each hint to each page.

        `database_sync_to_async` closes them as well.
        """
        await getattr(self, get_handler_name(message))(message)

    async def connect(self) -> None:
        try:
            user = await self._user()
            # Before the numbers are read: a hint that comes in between waits until the page has them.
            await self.channel_layer.group_add(events.PAGES, self.channel_name)
            heads = await database_sync_to_async(polling.heads)()
        except Error as error:
            if outages.kind(error) is None:
                raise
            log.warning("A page could not open its socket.", exc_info=error)
            self.ended = True
            await self.close()  # the page retries by itself
            return
        if user is None or not user.may(Permission.READ):
            # Accepted first: a browser cannot tell a refused handshake from a lost connection, and would never give up.
            await self.accept()
            await self._sign_out()
            return
        if pages_of[user.pk] >= settings.SOCKETS_PER_PERSON:
            await self.accept()
            await self._refuse(f"You have {pages_of[user.pk]} pages open. Close some, then reload this one.", {})
            self.ended = True
            await self.close(code=TOO_MANY)
            return
        pages_of[user.pk] += 1
        self.user_id, self.role = user.pk, user.role
        facts().person = user.pk
        await self.accept()
        # A page that missed something while it was disconnected sees newer numbers and catches up.
        self.heads, self.epoch = heads, heads.epoch
        for event, number in heads.items():
            await self._send_event(event, number=number, epoch=self.epoch)

    async def send(self, *args: Any, **kwargs: Any) -> None:
        """Send to the page, or drop the message if the page has just disconnected."""
        with contextlib.suppress(Disconnected):
            await super().send(*args, **kwargs)

    async def disconnect(self, code: int) -> None:
        if self.user_id:
            pages_of[self.user_id] -= 1
            if not pages_of[self.user_id]:
                del pages_of[self.user_id]
        open_pages.discard(self)
        if self.pushing:
            self.pushing.cancel()
        try:
            for part in self.parts:
                await part.close()
        finally:
            await self.channel_layer.group_discard(events.PAGES, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Do what the page asks. No message of a page may end its socket, because its other runs depend on it."""
        data: dict[str, Any] = {}
        try:
            data = _parse(text_data or "")
            await self._do(data)
        except ValidationError as refused:
            await self._refuse(" ".join(refused.messages), data)
        except Exception as error:
            log.exception("A message of a page could not be handled")
            reason = outages.sentence(error)
            if reason is None:
                reason = "Something went wrong on the server; its log has the details. Reload the page and try again."
            elif data.get("action") == "here":
                return  # no person asked for this message
            await self._refuse(reason, data)

    async def _do(self, data: dict[str, Any]) -> None:
        action = data.get("action")
        action = action if isinstance(action, str) else ""
        part = next((part for part in self.parts if action in part.actions), None)
        user, read = await read_for(self.session_key, lambda user: self._read(user, part, action, data))
        if user is None:
            await self._sign_out()
        elif part is not None:
            await part.do(user, data, read)
        elif action == "here":
            await self._arrive(user, data)
        else:
            raise ValidationError("This page is out of date. Reload it and try again.")

    def _read(
        self, user: User | None, part: PagePart | None, action: str, data: dict[str, Any]
    ) -> tuple[User | None, Any]:
        """Return the person, and what the part reads for them. Raises ValidationError if they lack the permission."""
        if user is None or part is None:
            return user, None
        permission = part.actions[action]
        if permission and not user.may(permission):
            by = Actor.person(user, socket_address(self.scope))
            record_refusal(action, by=by, method="WebSocket", permission=permission)
            raise ValidationError(refusal(permission))
        return user, part.read(user, data)

    async def _arrive(self, user: User, data: dict[str, Any]) -> None:
        """Take note of the parts that the page shows."""
        if not user.may(Permission.READ):
            return
        self.shown = shown_numbers(data.get("shown"))
        self._push_soon()
        for part in self.parts:
            await part.arrive(user, data)

    async def page_event(self, message: dict[str, Any]) -> None:
        """Handle a hint from the channel layer."""
        if self.ended or message["number"] <= self.heads.get(message["event"], -1):
            return
        if message["event"] == events.RECORDING_CHANGED:
            for part in self.parts:
                await part.hear(message["event"])
        elif message["event"] != events.USER_CHANGED:
            if message["event"] not in events.GROWING:
                await self._send_event(message["event"], number=message["number"], **_spread())
                return
            await self._send_event(message["event"], number=message["number"], epoch=self.epoch, **_spread())
            self._push_soon(message["event"])
        elif message["number"] == self.user_id:
            user = await self._user()
            if user is None:
                await self._sign_out()
            elif user.role != self.role:
                self.role = user.role
                await self._send_event("reload")

    async def page_epoch(self, message: dict[str, Any]) -> None:
        """Take over another line of history, in which any number is news. The page reloads at its first hint."""
        if message["epoch"] != self.epoch:
            self.epoch, self.heads = message["epoch"], {}
            self.shown = dict.fromkeys(self.shown, NOTHING)

    def _push_soon(self, event: str = "") -> None:
        """Send the outdated parts if the event can change one, at most once in `SECONDS_BETWEEN_PUSHES`."""
        if not any(not event or event in FRAGMENTS[name].events for name in self.shown):
            return
        self.push_again = True
        if self.pushing is None or self.pushing.done():
            self.pushing = asyncio.create_task(self._push())

    async def _push(self) -> None:
        while self.push_again and not self.ended:
            self.push_again = False
            try:
                await self._send_parts()
            except Error as error:
                if outages.kind(error) is None:
                    raise
                self.push_again = True
            await asyncio.sleep(SECONDS_BETWEEN_PUSHES)

    async def _send_parts(self) -> None:
        role = await readers.role_of(self.session_key, _session_keys)
        if role is None:
            user = await self._user()
            if user is None:
                await self._sign_out()
                return
            role = user.role
        zone = zone_of(self.scope["cookies"])
        for name, shown in list(self.shown.items()):
            part = await fragments.current(name, role, zone)
            # After a restore, a part from before it has higher numbers than the page and is not newer.
            if part.epoch == self.epoch and is_newer(part.numbers, shown, FRAGMENTS[name]):
                await self.send(part.message)
                self.shown[name] = part.numbers

    async def _sign_out(self) -> None:
        """Tell the page to go to the sign-in page, and end."""
        for part in self.parts:
            await part.stop()
        self.ended = True  # drops what still arrives before the socket is closed
        await self._send_event("signed_out")
        await self.close(code=SIGNED_OUT)

    async def _refuse(self, text: str, data: dict[str, Any]) -> None:
        """Tell the page why its message is refused, so that it undoes what it showed at the message's `place`."""
        await self.send(render_to_string("_toast_oob.html", {"text": text, "level": "error"}))
        await self._send_event("refused", place=data.get("place"))

    async def _send_event(self, event: str, **fields: Any) -> None:
        await self.send(json.dumps({"event": event, **fields}))

    @property
    def session_key(self) -> str:
        return self.scope["session"].session_key or ""

    async def _user(self) -> User | None:
        """Return the person of this socket's session: None after sign-out, deactivation or a change of password."""
        return await read_for(self.session_key, lambda user: user)


def _parse(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text) if len(text) <= MAX_MESSAGE else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise ValidationError("That message could not be read. Reload the page and try again.")
    return data


def _session_keys() -> list[str]:
    return [page.session_key for page in list(open_pages) if page.shown]


def _spread() -> dict[str, int]:
    """Return the milliseconds over which pages spread their requests after a hint; nothing if few are open."""
    pages = len(open_pages)
    return {} if pages <= FEW_PAGES else {"spread": min(MAX_SPREAD_MS, pages * SPREAD_MS)}
