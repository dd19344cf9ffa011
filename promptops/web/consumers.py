"""The one socket of an open page: live hints to it, previews and provider tests from it.

Hints are JSON (`{"event": "revision", "number": 13}`); what belongs into the page is HTML that htmx swaps out of band.
Every message asks again who is signed in and what their role may do.
"""

import asyncio
import contextlib
import json
import logging
import weakref
from collections import Counter
from typing import Any

from autobahn.exception import Disconnected
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import ValidationError
from django.db import Error
from django.template.loader import render_to_string
from django.utils.crypto import constant_time_compare

from promptops.engine.chain import AttemptStarted, TextChunk
from promptops.engine.operations import operation_spec
from promptops.engine.rewrite import parse_alternatives
from promptops.engine.types import LLMResponse
from promptops.ledger.actions.trail import record_refusal
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.live import polling
from promptops.live import snapshots as live
from promptops.people.enums import Permission
from promptops.people.models import User
from promptops.platform import events, outages
from promptops.prompts.actions import presence
from promptops.prompts.models import Template
from promptops.runs import previews
from promptops.runs.actions.recording import recorder
from promptops.runs.actions.runs import RunPlan, RunRecorded, TextHeld, execute
from promptops.runs.queries.runs import with_retries
from promptops.runs.written import pieces
from promptops.web.access import refusal, socket_address
from promptops.web.fragments import FRAGMENTS, Numbers, fragments, is_newer, readers, shown_numbers
from promptops.web.middleware import zone_of

log = logging.getLogger(__name__)

MAX_MESSAGE = 512 * 1024
MAX_RUNS = 8  # at once, of one person in this process
SIGNED_OUT = 4401  # the close code; 4000 to 4999 are for applications (RFC 6455, section 7.4.2)
TOO_MANY = 4429  # the close code for one page too many; the page waits longer before it tries again


running: Counter[int] = Counter()  # by user id: runs that are going on
pages_of: Counter[int] = Counter()  # by user id: open pages in this process
SECONDS_BETWEEN_RUNS = 1.0  # between two hints that there are new runs
SECONDS_BETWEEN_PUSHES = 1.0  # between two times that parts of a page are sent to it

open_pages: "weakref.WeakSet[PageConsumer]" = weakref.WeakSet()  # of this process
FEW_PAGES = 20
SPREAD_MS = 10
"""Of each open page: a fragment takes the server about 10 ms."""
MAX_SPREAD_MS = 6_000


class PageConsumer(AsyncWebsocketConsumer):
    """One per open page. The "Try it" panel, the smoke run and each provider's test go on one at a time: a new
    one cancels it and takes its place, one that is refused leaves it alone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ended = False
        self.user_id = 0  # 0 until the socket counts as somebody's page
        self.template = ""  # whose editor the page is
        self.runs: dict[str, asyncio.Task[None]] = {}
        self.replaced: asyncio.Task[None] | None = None  # the run that is being canceled for a new one
        self.newest_run = 0
        self.telling: asyncio.Task[None] | None = None
        self.linking: set[asyncio.Task[None]] = set()
        self.shown: dict[str, Numbers] = {}  # parts of the page that are sent to it, with what they show
        self.pushing: asyncio.Task[None] | None = None
        self.push_again = False
        open_pages.add(self)

    async def connect(self) -> None:
        try:
            user = await self._user()
            heads = await database_sync_to_async(polling.heads)()
        except Error as error:
            if outages.kind(error) is None:
                raise
            log.warning("A page could not open its socket.", exc_info=error)
            await self.close()  # it tries again by itself
            return
        if user is None or not user.may(Permission.READ):
            # Accepted first: a browser cannot tell a refused handshake from a lost connection, and would try for ever.
            await self.accept()
            await self._sign_out()
            return
        if pages_of[user.pk] >= settings.SOCKETS_PER_PERSON:
            await self.accept()
            await self._refuse(f"You have {pages_of[user.pk]} pages open. Close some, then reload this one.", {})
            await self.close(code=TOO_MANY)
            return
        pages_of[user.pk] += 1
        self.user_id, self.role = user.pk, user.role
        await self.channel_layer.group_add(events.PAGES, self.channel_name)
        await self.accept()
        # A page that missed something while it was away sees newer numbers and catches up.
        for event, number in heads.items():
            await self._send_event(event, number=number)

    async def send(self, *args: Any, **kwargs: Any) -> None:
        """Send to the page; what is meant for one that has just left, and whose leaving is yet unread, is dropped."""
        with contextlib.suppress(Disconnected):
            await super().send(*args, **kwargs)

    async def disconnect(self, code: int) -> None:
        if self.user_id:
            pages_of[self.user_id] -= 1
            if not pages_of[self.user_id]:
                del pages_of[self.user_id]
        open_pages.discard(self)
        for task in (self.telling, self.pushing, *self.linking):
            if task:
                task.cancel()
        try:
            await self._cancel_all()
        finally:
            await self.channel_layer.group_discard(events.PAGES, self.channel_name)
            if self.template:
                await self._leave()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Do what the page asks. Nothing that a page can send may end the socket: its other runs depend on it."""
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
                reason = "Something broke on the server; its log says what. Reload the page and try again."
            elif data.get("action") == "here":
                return  # nobody asked for it
            await self._refuse(reason, data)

    async def _do(self, data: dict[str, Any]) -> None:
        user = await self._user()
        if user is None:
            await self._sign_out()
            return
        action = data.get("action")
        key = previews.key(data)
        if action == "cancel":
            await self._cancel(key)
            return
        if action == "here":
            await self._arrive(user, data.get("template"), data.get("shown"))
            return
        planner = previews.PLANNERS.get(action) if isinstance(action, str) else None
        if planner is None:
            raise ValidationError("This page is out of date. Reload it and try again.")
        if not user.may(Permission.EDIT):
            by = Actor.person(user, socket_address(self.scope))
            await database_sync_to_async(record_refusal)(
                str(action), by=by, method="WebSocket", permission=Permission.EDIT
            )
            raise ValidationError(refusal(Permission.EDIT))
        planned = await database_sync_to_async(planner)(user, data, await live.acurrent())
        before = self.runs.get(key)
        frees = planned.weight if before and not before.done() else 0
        if running[user.pk] - frees + planned.weight > MAX_RUNS:
            raise ValidationError(f"{MAX_RUNS} runs of yours are going on. Wait for one, or cancel it.")
        running[user.pk] += planned.weight
        self.replaced = before
        await self._cancel(key)
        going = self._smoke(planned) if isinstance(planned, previews.Smoke) else self._run(planned)
        self.runs[key] = task = asyncio.create_task(going)
        task.add_done_callback(lambda _: running.subtract({user.pk: planned.weight}))

    async def _arrive(self, user: User, name: Any, shown: Any) -> None:
        """The page shows these parts, and may be the editor of this template, which others see until it closes."""
        if user.may(Permission.READ):
            self.shown = shown_numbers(shown)
            self._push_soon()
        if name == self.template or not isinstance(name, str) or not user.may(Permission.READ):
            return
        template = await Template.objects.filter(name=name).afirst()
        if template is not None:
            self.template = name
            await database_sync_to_async(presence.arrive)(template, user=user, channel=self.channel_name)

    async def _leave(self) -> None:
        try:
            await database_sync_to_async(presence.leave)(self.channel_name)
        except Error as error:  # the heartbeat makes up for it
            if outages.kind(error) is None:
                raise
            log.warning("Who left a page could not be kept.", exc_info=error)

    async def page_event(self, message: dict[str, Any]) -> None:
        """A hint from the channel layer."""
        if self.ended:
            return
        if message["event"] == events.RUN_RECORDED:
            self.newest_run = message["number"]
            self._push_soon(events.RUN_RECORDED)
            if self.telling is None or self.telling.done():
                self.telling = asyncio.create_task(self._tell_of_runs())
        elif message["event"] == events.RECORDING_CHANGED:
            await self.send(render_to_string("_recording.html", {"recording": recorder.status, "oob": True}))
        elif message["event"] != events.USER_CHANGED:
            await self._send_event(message["event"], number=message["number"], **_spread())
            if message["event"] in events.GROWING:
                self._push_soon(message["event"])
        elif message["number"] == self.user_id:
            user = await self._user()
            if user is None:
                await self._sign_out()
            elif user.role != self.role:
                self.role = user.role
                await self._send_event("reload")

    async def _tell_of_runs(self) -> None:
        """Runs may come by the hundred: a page hears of one at once, and of the newest since then once a second."""
        told = 0
        while told != self.newest_run and not self.ended:
            told = self.newest_run
            await self._send_event(events.RUN_RECORDED, number=told, **_spread())
            await asyncio.sleep(SECONDS_BETWEEN_RUNS)

    def _push_soon(self, event: str = "") -> None:
        """Send the parts that are old by now, if the event can change one; at most once in `SECONDS_BETWEEN_PUSHES`."""
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
            if is_newer(part.numbers, shown, FRAGMENTS[name]):
                await self.send(part.message)
                self.shown[name] = part.numbers

    async def _run(self, preview: "previews.Preview") -> None:
        """Stream one run into the page."""
        plan = preview.plan
        streamed = False
        try:
            await self._render(preview, state="running", plan=plan)
            async with contextlib.aclosing(execute(plan)) as happenings:
                async for event in happenings:
                    if isinstance(event, AttemptStarted):
                        await self._send_status(preview, f"Asking {event.provider}…")
                    elif isinstance(event, TextChunk):
                        if preview.streams:
                            await self.send(render_to_string("runs/_try_text.html", {"text": event.text}))
                        streamed = True
                    elif isinstance(event, TextHeld):
                        await self._send_status(preview, f"{event.provider} is answering; the filter reads it first…")
                    elif isinstance(event, RunRecorded):
                        await self._render(
                            preview,
                            state="done" if event.response else "blocked" if event.blocked else "failed",
                            checks=event.checks,
                            plan=plan,
                            response=event.response,
                            alternatives=(alternatives := _alternatives(plan, event.response)),
                            written=_written(event, alternatives),
                            written_masked=event.raw_masked,
                            attempts=event.attempts,
                            calls=with_retries(event.attempts),
                            error=event.error,
                            latency_ms=event.latency_ms,
                            run_id=event.run_id,
                            unrecorded=_place_of(event.recording),
                            cut=streamed and not event.response,
                        )
                        self._link_later(event.recording)
        except asyncio.CancelledError:
            if asyncio.current_task() is not self.replaced:
                with contextlib.suppress(Exception):  # the page may be gone already
                    await self._render(preview, state="canceled", plan=plan)
            raise
        except Refused as refused:
            await self._render(preview, state="failed", plan=plan, error=str(refused))
        except Exception:
            log.exception("A run failed unexpectedly")
            await self._render(
                preview, state="failed", plan=plan, error="Something broke on the server; its log says what. Try again."
            )

    async def _smoke(self, smoke: "previews.Smoke") -> None:
        """Fill the table of a smoke run: one input after another, its two runs side by side."""
        answered = 0
        try:
            await self.send(render_to_string("runs/_smoke.html", {"smoke": smoke}))
            for _, cells in smoke.rows:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._smoke_cell(cell)) for cell in cells]
                answered += sum(task.result() for task in tasks)
            state = "done"
        except asyncio.CancelledError:
            if asyncio.current_task() is not self.replaced:
                with contextlib.suppress(Exception):  # the page may be gone already
                    await self._send_smoke(smoke, "canceled", answered)
            raise
        except Exception:
            log.exception("A smoke run failed unexpectedly")
            state = "broken"
        await self._send_smoke(smoke, state, answered)

    async def _smoke_cell(self, cell: "previews.Cell") -> bool:
        """Make one run of a smoke run and show how it ended; whether it was answered."""
        context: dict[str, Any] = {}
        try:
            async with contextlib.aclosing(execute(cell.plan)) as happenings:
                async for event in happenings:
                    if isinstance(event, RunRecorded):
                        context = vars(event) | {"blocked": event.blocked, "unrecorded": _place_of(event.recording)}
        except Refused as refused:
            context = {"error": str(refused)}
        except Exception:
            log.exception("A run failed unexpectedly")
            context = {"error": "Something broke on the server; its log says what."}
        await self.send(render_to_string("runs/_smoke_cell.html", {"cell": cell} | context))
        self._link_later(context.get("recording"))
        return bool(context.get("response"))

    def _link_later(self, recording: "asyncio.Task[int] | None") -> None:
        """Put the link to a run into the page once it is recorded, or that it never will be."""
        if recording is not None:
            self.linking.add(task := asyncio.create_task(self._link(recording)))
            task.add_done_callback(self.linking.discard)

    async def _link(self, recording: "asyncio.Task[int]") -> None:
        await asyncio.wait({recording})
        run_id = 0 if recording.cancelled() or recording.exception() else recording.result()
        context = {"run_id": run_id, "unrecorded": _place_of(recording), "is_dropped": not run_id}
        await self.send(render_to_string("runs/_run_link.html", context))

    async def _send_smoke(self, smoke: "previews.Smoke", state: str, answered: int) -> None:
        context = {"smoke": smoke, "state": state, "answered": answered, "failed": smoke.runs - answered}
        await self.send(render_to_string("runs/_smoke_status.html", context))

    async def _cancel(self, key: str) -> None:
        """Stop the run of this key, if it is going on, and wait until it is recorded."""
        run = self.runs.pop(key, None)
        if run is not None and not run.done():
            run.cancel()
            await asyncio.wait({run})

    async def _cancel_all(self) -> None:
        for key in list(self.runs):
            await self._cancel(key)

    async def _render(self, preview: "previews.Preview", **context: Any) -> None:
        await self.send(render_to_string(preview.template, preview.context | context))

    async def _send_status(self, preview: "previews.Preview", text: str) -> None:
        if preview.streams:
            await self.send(render_to_string("runs/_try_status.html", {"text": text}))

    async def _sign_out(self) -> None:
        """Tell the page to go to the sign-in page, and end."""
        await self._cancel_all()
        self.ended = True  # what comes until the socket is closed has nobody to go to
        await self._send_event("signed_out")
        await self.close(code=SIGNED_OUT)

    async def _refuse(self, text: str, data: dict[str, Any]) -> None:
        """Say why the page does not get what it asked for; it takes back what it showed at its `place`."""
        await self.send(render_to_string("_toast_oob.html", {"text": text, "level": "error"}))
        await self._send_event("refused", place=data.get("place"))

    async def _send_event(self, event: str, **fields: Any) -> None:
        await self.send(json.dumps({"event": event, **fields}))

    @property
    def session_key(self) -> str:
        return self.scope["session"].session_key or ""

    @database_sync_to_async
    def _user(self) -> User | None:
        """Who this socket's session belongs to by now: None once signed out, deactivated or with a changed password."""
        key = self.session_key
        session = SessionStore(session_key=key) if key else {}
        user = User.objects.filter(pk=session.get(SESSION_KEY) or 0, is_active=True).first()
        if user is None:
            return None
        # As django.contrib.auth.get_user does, which would give the session a new key that no cookie could tell of.
        known = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
        held = session.get(HASH_SESSION_KEY, "")
        return user if any(constant_time_compare(held, value) for value in known) else None


def _parse(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text) if len(text) <= MAX_MESSAGE else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise ValidationError("That message could not be read. Reload the page and try again.")
    return data


def _written(event: RunRecorded, alternatives: list[str]) -> list[tuple[str, bool]]:
    if event.response is None or event.raw_masked:
        return []
    return pieces(event.response.content, event.raw, alternatives)


def _session_keys() -> list[str]:
    return [page.session_key for page in list(open_pages) if page.shown]


def _spread() -> dict[str, int]:
    """Over how many ms pages spread what they fetch after a hint; nothing where few are open."""
    pages = len(open_pages)
    return {} if pages <= FEW_PAGES else {"spread": min(MAX_SPREAD_MS, pages * SPREAD_MS)}


def _place_of(recording: "asyncio.Task[int] | None") -> str:
    """The id of the element that shows that a run is not recorded yet."""
    return f"unrecorded-{recording.get_name()}" if recording else ""


def _alternatives(plan: RunPlan, response: LLMResponse | None) -> list[str]:
    count = operation_spec(plan.operation).count_or_default(plan.count)
    return [] if response is None or count is None else parse_alternatives(response.content, count)
