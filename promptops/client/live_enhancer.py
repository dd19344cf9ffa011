"""`LiveEnhancer`: what a streaming server uses instead of `PromptEnhancer` to run what is live in PromptOps."""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
import weakref
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import promptops
from promptops.client.contents import Content, Contents, Source
from promptops.client.filters import Filters
from promptops.client.follower import Contact, Follower, State
from promptops.client.operating import Operating, Session
from promptops.client.reports import Reports
from promptops.client.runs import Runner
from promptops.client.sessions import Pins, Policy
from promptops.client.timing import Clock, Timing
from promptops.client.wire import HttpWire, Wire, WireError, checked_url
from promptops.engine.health import HealthRegistry
from promptops.engine.providers.key_variables import SETTING, Permitted
from promptops.engine.types import LLMProvider

log = logging.getLogger(__name__)

Kind: TypeAlias = Literal["library", "files"]
CLOSE_SECONDS = 2.0


@dataclass(frozen=True)
class LiveState:
    """The state of following.

    "ready": the control room confirmed the content within `age` seconds. "stale": it has not for 30 seconds, or it has
    something newer that could not be fetched. "refused": it refuses the token, or this server refuses its document.
    "offline": this process does not follow. `reason` is a sentence, "" if all is well.
    """

    state: State
    age: float | None
    reason: str
    revision: int
    epoch: str
    sha256: str
    source: Source
    way: str


class LiveEnhancer(Operating):
    """Runs the live operations of the PromptOps at `url`, and follows every release of it.

    `server` is this server's name. Every run reads memory only, so it never waits for PromptOps. `cache` is a file for
    the last good content; `bootstrap` is one that comes with the server; `texts` are system prompts by operation, if
    neither is there. `providers` are the caller's own, instead of the chain that is live. With `offline` no socket is
    opened. `key_variables` are entries as PROVIDER_KEY_VARIABLES has them, which is the default. `report_texts` sends
    inputs and answers with the reports of runs. `on_change` gets the state after a swap, `on_state` after a change of
    the state; both are called in the event loop of `start` and must be quick.

    Runs may come from any thread and event loop. Following belongs to the loop and process of `start`: after a fork the
    child has the content, follows nothing, and calls `start` itself.
    """

    def __init__(
        self,
        url: str,
        token: str | Callable[[], str],
        *,
        server: str,
        cache: str | Path | None = None,
        bootstrap: str | Path | None = None,
        texts: Mapping[str, str] | None = None,
        providers: Sequence[LLMProvider] | None = None,
        offline: bool = False,
        start_timeout: float = 5.0,
        labels: Mapping[str, str] | None = None,
        report_texts: bool = False,
        on_change: Callable[[LiveState], object] | None = None,
        on_state: Callable[[LiveState], object] | None = None,
        key_variables: Collection[str] | None = None,
        kind: Kind = "library",
        clock: Clock | None = None,
        timing: Timing | None = None,
        wire: Callable[[], Wire] | None = None,
    ) -> None:
        checked_url(url)
        self._clock, self._timing = clock or Clock(), timing or Timing()
        self._new_wire = wire or (lambda: HttpWire(url, token))
        self._offline, self._start_timeout = offline, start_timeout
        self._on_change, self._on_state = on_change, on_state
        self._bootstrap = Path(bootstrap) if bootstrap else None
        self._texts = dict(texts or {})
        self._named = {"server": server, "version": promptops.__version__, "kind": kind, "labels": dict(labels or {})}
        folder = Path(cache).with_name(f"{Path(cache).name}.models") if cache else None
        self._contents = Contents(
            cache=Path(cache) if cache else None,
            filters=Filters(folder),
            permitted=Permitted.read(_entries() if key_variables is None else key_variables),
            clock=self._clock,
            epoch_pause=self._timing.epoch_pause,
        )
        self._contents.swapped = self._swapped
        self._reports = Reports(self._clock, texts=report_texts)
        self._runner = Runner(providers, self._reports, self._clock, HealthRegistry())
        self._pins = Pins(self._content, self._clock)
        self._following: _Following | None = None
        self._is_loaded = False
        _all.add(self)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Load the newest content at hand, and follow. Returns once the content is confirmed, or after `start_timeout`.

        Raises `ValueError` for texts of an unknown operation, and `RuntimeError` if another event loop follows already.
        The control room never makes it raise.
        """
        if self._following is not None:
            if self._following.loop is asyncio.get_running_loop():
                return
            if not self._following.loop.is_closed():
                raise RuntimeError("This LiveEnhancer follows in another event loop already. Close it there first.")
            self._following = None
        if not self._is_loaded:
            self._contents.load_first(bootstrap=self._bootstrap, texts=self._texts)
            self._is_loaded = True
        if self._offline:
            return
        following = self._following = _Following(self)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._start_timeout):
                await following.follower.answered.wait()

    async def close(self) -> None:
        """Stop following and send the last reports, within two seconds. The content stays, so runs go on."""
        following, self._following = self._following, None
        if following is not None:
            await following.close()

    @property
    def state(self) -> LiveState:
        """Return the state of following, from memory."""
        content = self._contents.current
        contact = self._following.follower.contact if self._following else Contact()
        now = self._clock.monotonic()
        state, reason = contact.judged(now, self._timing)
        if self._following is None:
            state, reason = "offline", "This process does not follow the control room."
        epoch, revision = content.head
        return LiveState(state, contact.age(now), reason, revision, epoch, content.sha256, content.source, contact.way)

    def session(self, id: str, policy: Policy = "session") -> Session:
        """Return a session that is pinned to what is live now, or the one of that id with its pin.

        "session" stays there, "segment" moves on with `next_segment`, and "call" takes what is live at each run.
        """
        return Session(id, policy, self._pins, self._runner)

    def _content(self) -> Content:
        if not self._is_loaded:
            self._contents.load_first(bootstrap=self._bootstrap, texts=self._texts)
            self._is_loaded = True
        return self._contents.current

    def _swapped(self, before: Content, after: Content) -> None:
        known = {provider.name: provider for provider in before.snapshot.providers}
        for provider in after.snapshot.providers:
            if provider.name in known and known[provider.name] != provider:
                self._runner.health.forget(provider.name)  # it was measured with the old settings
        if self._on_change is not None and after.sha256 != before.sha256:
            self._call(self._on_change)

    def _call(self, callback: Callable[[LiveState], object]) -> None:
        try:
            callback(self.state)
        except Exception:
            log.exception("A callback failed; following goes on")

    def _forget_parent(self) -> None:
        """Drop what belongs to the process that this one was forked from, without closing its sockets."""
        if self._following is not None:
            _abandoned.append(self._following)
        self._following = None
        self._reports.forget()
        self._pins = Pins(self._content, self._clock)


class _Following:
    """The tasks that follow, in one event loop, and their connections."""

    def __init__(self, owner: LiveEnhancer) -> None:
        self._owner = owner
        self.loop = asyncio.get_running_loop()
        self.wire = owner._new_wire()
        self.introduction = {**owner._named, "instance": str(uuid.uuid4())}
        self.follower = Follower(
            self.wire,
            owner._contents,
            self.introduction,
            lambda: owner.state.state,
            owner._reports.runs_a_minute,
            owner._clock,
            owner._timing,
        )
        work: list[Coroutine[Any, Any, None]] = [self.follower.follow(), self._report(), self._watch()]
        self._tasks = [self.loop.create_task(each) for each in work]

    async def close(self) -> None:
        """End the tasks, send the last reports, and close the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(TimeoutError, WireError):
            async with asyncio.timeout(CLOSE_SECONDS):
                while await self._owner._reports.send(self.wire.post, self.introduction):
                    pass
        await self.wire.close()

    async def _report(self) -> None:
        """Send the reports of runs, now and then."""
        while True:
            await asyncio.sleep(self._owner._timing.reports)
            try:
                while await self._owner._reports.send(self.wire.post, self.introduction):
                    pass
            except WireError:
                continue  # the batch waits, and the follower knows more about the outage
            except Exception:
                log.exception("Reports of runs could not be sent")

    async def _watch(self) -> None:
        """Call `on_state` when the state changes, which may happen by time alone."""
        before: State | None = None
        while True:
            state = self._owner.state.state
            if state != before and self._owner._on_state is not None:
                self._owner._call(self._owner._on_state)
            before = state
            await asyncio.sleep(self._owner._timing.watch)


_all: weakref.WeakSet[LiveEnhancer] = weakref.WeakSet()
_abandoned: list[_Following] = []
"""What a fork left behind. It is never closed here: closing would disturb the sockets of the parent."""


def _after_fork() -> None:
    for enhancer in list(_all):
        enhancer._forget_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _entries() -> list[str]:
    """Return the entries of PROVIDER_KEY_VARIABLES in the environment."""
    return [entry.strip() for entry in os.environ.get(SETTING, "").split(",") if entry.strip()]
