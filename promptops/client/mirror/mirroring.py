"""Keeping the files as what is live, and the control room informed.

The follower brings the newest content; the mirror puts it into the files, makes the server reload, and only then counts
it as running. Both run in one event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeAlias

from promptops.client.contents import Content, Contents
from promptops.client.filters import Filters
from promptops.client.follower import Contact, Follower, Send, Work
from promptops.client.mirror.files import FileSet, combined, hashes_of
from promptops.client.mirror.layouts import STATE, Layout, LiveText, MissingText, left_out, live_texts, without_effect
from promptops.client.mirror.reloading import NotReloaded, OtherTexts, Reloader
from promptops.client.timing import Clock, Timing
from promptops.engine.snapshot import SafetySpec

log = logging.getLogger(__name__)

OnDrift: TypeAlias = Literal["report", "restore"]
Outcome: TypeAlias = Literal["applied", "drifted", "refused"]
LONGEST_PAUSE = 300.0
"""The longest pause in seconds before a failed reload is tried again."""

REMINDER = 600.0
"""The pause in seconds between two log lines that say how old the files are."""


@dataclass(frozen=True)
class Verdict:
    """The last judgement. `content` is what it is about, `sha256` what the server really has."""

    outcome: Outcome
    content: Content
    sha256: str
    why: str = ""
    needs_operations: bool = False
    """True if the live configuration has no text for a file."""

    @property
    def message(self) -> dict[str, Any]:
        """Return the report for the control room."""
        epoch, revision = self.content.head
        message: dict[str, Any] = {"type": self.outcome, "revision": revision, "epoch": epoch}
        if self.outcome != "refused":
            message["sha256"] = self.sha256
        return message if self.outcome == "applied" else message | {"why": self.why[:500]}


class NoFilters(Filters):
    """No filter: a server that reads files judges texts by itself, or not at all."""

    def __init__(self) -> None:
        super().__init__(None)

    def guarded(self, safety: SafetySpec) -> SafetySpec:
        """Return the filter without a guard."""
        return safety

    def warm_up(self, safety: SafetySpec) -> None:
        """Do nothing: there is no guard."""

    def lacks_file(self, safety: SafetySpec) -> bool:
        """Return that no file is needed."""
        return False

    def is_filtered(self, safety: SafetySpec) -> bool:
        """Return that PromptOps' filter judges nothing here."""
        return False


class Mirror:
    """The files of one server. `check` is the pause in seconds between two looks at them."""

    def __init__(
        self,
        contents: Contents,
        files: FileSet,
        layout: Layout,
        reloader: Reloader,
        *,
        on_drift: OnDrift,
        check: float,
        contact: Contact,
        clock: Clock,
        timing: Timing,
    ) -> None:
        self.contents, self.files, self.layout, self.reloader = contents, files, layout, reloader
        self.on_drift, self.check = on_drift, check
        self._contact, self._clock, self._timing = contact, clock, timing
        self.verdict: Verdict | None = None
        self.running: Verdict | None = None
        """The last verdict with a set in place: what heartbeats report."""
        self.judged = asyncio.Event()
        """Set after each new verdict."""
        self.is_hopeless = asyncio.Event()
        """Set if what is live has no text for a file, and the folder never had a set of this layout."""
        self._woken = asyncio.Event()
        self._failures = 0
        self._state_before, self._reminded_at = "", clock.monotonic()
        memory = files.read_json(STATE)
        self._reloaded, self._heard_at = str(memory.get("reloaded", "")), memory.get("heard_at")
        contents.swapped = lambda before, after: self.wake()

    def wake(self) -> None:
        """Make the mirror look at the content now."""
        self._failures = 0
        self._woken.set()

    async def run(self) -> None:
        """Look at content and files until the task is canceled; each look is finished."""
        while True:
            self._woken.clear()
            await finished(self.look())
            with suppress(TimeoutError):
                async with asyncio.timeout(self.pause):
                    await self._woken.wait()

    @property
    def pause(self) -> float:
        """Return the time until the next look, longer after each failure in a row."""
        return max(self.check, min(LONGEST_PAUSE, self.check * 2.0 ** min(self._failures - 1, 16)))

    async def look(self) -> None:
        """Bring the files to the content, judge them, and write the state file."""
        content = self.contents.current
        if content.sha256:
            try:
                verdict = await self._judge(content)
            except OSError as error:
                verdict = self._refusal(content, f"The files cannot be written: {error.strerror or error}.")
            except Exception as error:
                log.exception("The files could not be brought up to date; it is tried again")
                verdict = self._refusal(content, f"The files cannot be written ({type(error).__name__}).")
            self._failures = self._failures + 1 if verdict.outcome == "refused" else 0
            self._take(verdict)
        self._note_age()
        await self._write_state()

    async def _judge(self, content: Content) -> Verdict:
        snapshot = content.snapshot
        try:
            texts = live_texts(snapshot, self.layout)
        except MissingText as error:
            return self._refusal(content, f"{error} The files stay as they are.", needs_operations=True)
        changes = await asyncio.to_thread(self._changes, content, texts)
        if changes is None or (changes and self.on_drift == "restore"):
            epoch, revision = content.head
            is_written = await asyncio.to_thread(
                self.files.write, texts, revision=revision, epoch=epoch, sha256=content.sha256
            )
            log.info("The files have the texts of r%d%s.", revision, "" if is_written else ", which are the same")
            for each in changes or ():
                log.warning("%s It has the live text again.", each)
            for operation in left_out(snapshot, self.layout):
                log.warning("%s has a user template or examples. Files carry only its system prompt.", operation)
            if is_written:
                self._reloaded = ""
        elif changes:
            actual = await asyncio.to_thread(self.files.actual_hashes, self.layout)
            return Verdict("drifted", content, combined(actual), " ".join(changes))
        return await self._reload(content, texts)

    async def _reload(self, content: Content, texts: Mapping[str, LiveText]) -> Verdict:
        """Make the server read the set that is in place, unless it has, and judge what it uses."""
        hashes = combined(hashes_of(texts))
        must_reload = self._reloaded != hashes
        try:
            if must_reload:
                await self.reloader.reload(texts, content.head[1])
            else:
                try:
                    await self.reloader.verify(texts)
                except OtherTexts:
                    if self.on_drift != "restore":
                        raise
                    await self.reloader.reload(texts, content.head[1])
        except OtherTexts as error:
            self._reloaded = hashes
            return Verdict("drifted", content, combined(error.hashes), str(error))
        except NotReloaded as error:
            if must_reload:
                return self._refusal(content, f"{error} It is tried again.")
            return Verdict("drifted", content, content.sha256, f"{error} Nobody can say which texts it uses.")
        self._reloaded = hashes
        if lever := without_effect(content.snapshot, self.layout, self._clock.now()):
            return Verdict("drifted", content, hashes, lever)
        return Verdict("applied", content, content.sha256)

    def _changes(self, content: Content, texts: Mapping[str, LiveText]) -> list[str] | None:
        """Return what somebody else has changed in the set; `None` if the set is not that of the content."""
        manifest = self.files.manifest()
        if manifest is None or self.files.is_interrupted:
            return None
        if manifest.sha256 != content.sha256 or manifest.hashes != hashes_of(texts):
            return None
        return self.files.changes(manifest)

    def _refusal(self, content: Content, why: str, *, needs_operations: bool = False) -> Verdict:
        return Verdict("refused", content, "", why, needs_operations)

    def _take(self, verdict: Verdict) -> None:
        if verdict.outcome != "refused":
            self.running = verdict
        if verdict == self.verdict:
            return
        self.verdict = verdict
        if verdict.outcome == "applied":
            log.info("r%d is applied.", verdict.content.head[1])
        else:
            log.error("r%d is %s: %s", verdict.content.head[1], verdict.outcome, verdict.why)
        self.judged.set()

    # State

    @property
    def state(self) -> str:
        """Return the state of following."""
        return self._contact.judged(self._clock.monotonic(), self._timing)[0]

    def _note_age(self) -> None:
        """Log each change of the state, and now and then how old the files are."""
        now = self._clock.monotonic()
        state, reason = self._contact.judged(now, self._timing)
        if self._contact.heard_at is None and now - self._reminded_at < self._timing.answer:
            return  # it has just begun
        is_due = state != "ready" and now - self._reminded_at >= REMINDER
        if state == self._state_before and not is_due:
            return
        is_first, self._state_before, self._reminded_at = not self._state_before, state, now
        if state != "ready":
            log.warning("%s The files stay %s. %s", reason, self._set_in_place(), self._last_heard())
        elif not is_first:
            log.info("The control room is there again.")

    def _set_in_place(self) -> str:
        if self.running is not None:
            return f"at r{self.running.content.head[1]}"
        manifest = self.files.manifest()
        return f"at r{manifest.revision}" if manifest else "as they are: this folder has no set yet"

    def _last_heard(self) -> str:
        age = self._contact.age(self._clock.monotonic())
        if age is not None:
            return f"The control room was heard {age:.0f} seconds ago."
        return f"The control room was last heard at {self._heard_at}." if self._heard_at else ""

    async def _write_state(self) -> None:
        now = self._clock.monotonic()
        state, reason = self._contact.judged(now, self._timing)
        if (age := self._contact.age(now)) is not None:
            self._heard_at = (self._clock.now() - timedelta(seconds=age)).isoformat(timespec="seconds")
        verdict, manifest = self.verdict, await asyncio.to_thread(self.files.manifest)
        has_set = manifest is not None and set(manifest.hashes) == set(self.layout)
        if verdict and verdict.needs_operations and not has_set:
            self.is_hopeless.set()
        values = {
            "state": state,
            "reason": reason,
            "heard_at": self._heard_at,
            "checked_at": self._clock.now().isoformat(timespec="seconds"),
            "outcome": verdict.outcome if verdict else "",
            "why": verdict.why if verdict else "",
            "revision": manifest.revision if manifest else None,
            "newest_revision": self.contents.current.head[1] if self.contents.current.sha256 else None,
            "reloaded": self._reloaded,
        }
        try:
            await asyncio.to_thread(self.files.write_one, STATE, values)
        except OSError as error:
            log.debug("%s cannot be written: %s", STATE, error.strerror)


class FileFollower(Follower):
    """Follows like the library, but reports what the mirror has put into the files."""

    mirror: Mirror
    delivered: Verdict | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.has_delivered = asyncio.Event()
        """Set for a moment after each report."""

    def _further_work(self, send: Send) -> list[Work]:
        return [self._deliver(send)]

    async def _deliver(self, send: Send) -> None:
        """Send the verdict of now, because a registration forgets it, and then each new one."""
        while True:
            self.mirror.judged.clear()
            verdict = self.mirror.verdict
            if verdict is not None:
                await send(verdict.message)
                self.delivered = verdict
                self.has_delivered.set()
                self.has_delivered.clear()
            await self.mirror.judged.wait()

    async def _acknowledge(self, send: Send) -> None:
        """Leave the acknowledgement to the mirror, which needs a moment."""

    def _running(self) -> dict[str, Any]:
        running = self.mirror.running
        epoch, revision = running.content.head if running else ("", None)
        return {
            "revision": revision,
            "epoch": epoch,
            "sha256": running.sha256 if running else "",
            "state": self.state(),
        }


async def finished(work: Work) -> None:
    """Await the work to its end, even if the caller is canceled meanwhile: no set is left half reloaded."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
