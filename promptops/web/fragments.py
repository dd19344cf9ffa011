"""Parts of pages that are the same for everybody of one role: rendered once, and sent to open pages with the hint.

Parts that depend on the person or on a page's filters do not belong here; the page fetches them itself.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from django.template.loader import render_to_string
from django.utils import timezone

from promptops.ledger import queries as releases
from promptops.live import polling
from promptops.people import queries as people
from promptops.people.enums import Permission
from promptops.people.permissions import allows
from promptops.platform import events
from promptops.platform.threads import in_background

Result = TypeVar("Result")

Numbers = tuple[int, ...]
"""The newest revision, audit entry and run that a part of a page shows."""

HEADS = (events.REVISION_RELEASED, events.AUDIT_RECORDED, events.RUN_RECORDED)
NOTHING: Numbers = (0,) * len(HEADS)
MAX_RENDERINGS = 64
"""Renderings in memory: of 6 parts, 4 roles and a few time zones."""


@dataclass(frozen=True)
class Fragment:
    """A template, its context, and the counters that can change it."""

    template: str
    context: Callable[[], dict[str, Any]]
    events: frozenset[str] = frozenset(HEADS)


FRAGMENTS = {
    "live-badge": Fragment(
        "_live_badge.html", lambda: {"live_note": releases.latest_release()}, frozenset({events.REVISION_RELEASED})
    ),
}
"""The fragments by name. Features add theirs in `AppConfig.ready` (see `promptops.site.fragments`)."""


@dataclass(frozen=True)
class Rendered:
    """A part of a page as HTML, with the counters of the database, and their epoch, just before the part was read."""

    numbers: Numbers
    html: str
    epoch: str

    @cached_property
    def message(self) -> str:
        """The message that is sent to pages."""
        return json.dumps({"event": "fragment", "html": self.html})


def render(name: str, role: str, zone: ZoneInfo | None) -> Rendered:
    """Read and render the part."""
    heads = polling.heads()
    fragment = FRAGMENTS[name]
    with timezone.override(zone):
        context = {
            "heads": heads,
            "request": {"htmx": True},  # leaves out the elements around the part, which pages keep
            "may": {permission.value: allows(role, permission) for permission in Permission},
            **fragment.context(),
        }
        html = render_to_string(fragment.template, context)
    return Rendered(tuple(heads[event] or 0 for event in HEADS), html, heads.epoch)


def is_newer(numbers: Numbers, shown: Numbers, fragment: Fragment) -> bool:
    """Return whether some counter of the part is newer, and none older, than on a page with the numbers `shown`."""
    pairs = [(new, old) for event, new, old in zip(HEADS, numbers, shown, strict=True) if event in fragment.events]
    return any(new > old for new, old in pairs) and all(new >= old for new, old in pairs)


class Readers:
    """Looks up the roles of all open pages at once, however many of them ask after one hint."""

    def __init__(self) -> None:
        self._latest: tuple[dict[str, int], asyncio.Task[dict[str, str]]] | None = None

    async def role_of(self, session_key: str, all_keys: Callable[[], list[str]]) -> str | None:
        """Return the role of the person whose session this is, looked up after the newest hint of this process.

        None if the session has ended or began after the look-up. `all_keys` returns the sessions of all open pages.
        """
        loop = asyncio.get_running_loop()
        newest = dict(events.newest_sent())
        latest = self._latest
        if latest is None or latest[0] != newest or latest[1].get_loop() is not loop or _failed(latest[1]):
            latest = (newest, _shared(in_background(people.roles_of_sessions, all_keys())))
            self._latest = latest
        return (await asyncio.shield(latest[1])).get(session_key)


def _shared(work: Coroutine[Any, Any, Result]) -> "asyncio.Task[Result]":
    """Return the task of work for whoever waits. If all have left when it fails, its error concerns nobody."""
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(_failed)  # it looks at the error; asyncio logs one that nobody looks at
    return task


def _failed(task: "asyncio.Task[Any]") -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


class Fragments:
    """Renders each part once for a role, a time zone and the newest numbers, however many pages ask."""

    def __init__(self) -> None:
        self._renderings: OrderedDict[tuple[Any, ...], tuple[Numbers, asyncio.Task[Rendered]]] = OrderedDict()

    async def current(self, name: str, role: str, zone: ZoneInfo | None) -> Rendered:
        """Return the part, rendered after the newest hint of this process. Raises errors of the database."""
        loop = asyncio.get_running_loop()
        newest = events.newest_sent()
        counters = [event for event in HEADS if event in FRAGMENTS[name].events]
        numbers = tuple(newest.get(event, 0) for event in (events.BEGINNING, *counters))
        key = (loop, name, role, zone and zone.key)
        rendering = self._renderings.get(key)
        if rendering is None or rendering[0] != numbers or _failed(rendering[1]):
            rendering = (numbers, _shared(in_background(render, name, role, zone)))
            self._renderings[key] = rendering
        self._renderings.move_to_end(key)
        while len(self._renderings) > MAX_RENDERINGS:
            self._renderings.popitem(last=False)
        return await asyncio.shield(rendering[1])


fragments = Fragments()  # this process's
readers = Readers()


def shown_numbers(shown: Any) -> dict[str, Numbers]:
    """Return the parts that a page reports, with their numbers. Unknown and malformed ones are left out."""
    if not isinstance(shown, dict):
        return {}
    numbers = {}
    for name, version in list(shown.items())[: len(FRAGMENTS)]:
        words = version.split("-") if isinstance(version, str) and len(version) <= 80 else []
        if (
            name in FRAGMENTS
            and len(words) == len(HEADS)
            and all(word.isascii() and word.isdecimal() for word in words)
        ):
            numbers[name] = tuple(map(int, words))
    return numbers
