"""Parts of pages that are the same for everybody of one role: rendered once, and sent to open pages with the hint.

What depends on the person, or on what a page filters, is fetched by the page itself.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
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

Numbers = tuple[int, ...]
"""The newest revision, audit entry and run that a part of a page shows."""

HEADS = (events.REVISION_RELEASED, events.AUDIT_RECORDED, events.RUN_RECORDED)
MAX_KEPT = 64
"""Renderings that are kept: of 5 parts, 4 roles and a few time zones."""


@dataclass(frozen=True)
class Fragment:
    """A template, what it shows, and which counters can change it."""

    template: str
    context: Callable[[], dict[str, Any]]
    events: frozenset[str] = frozenset(HEADS)


FRAGMENTS = {
    "live-badge": Fragment(
        "_live_badge.html", lambda: {"live_note": releases.latest_release()}, frozenset({events.REVISION_RELEASED})
    ),
}
"""By name. Features add theirs in `AppConfig.ready` (`promptops.site.fragments`)."""


@dataclass(frozen=True)
class Rendered:
    """A part of a page as HTML, and the numbers that the database had just before it was read."""

    numbers: Numbers
    html: str

    @cached_property
    def message(self) -> str:
        """What is sent to a page."""
        return json.dumps({"event": "fragment", "html": self.html})


def render(name: str, role: str, zone: ZoneInfo | None) -> Rendered:
    """Read and render the part now."""
    heads = polling.heads()
    fragment = FRAGMENTS[name]
    with timezone.override(zone):
        context = {
            "heads": heads,
            "request": {"htmx": True},  # what a page keeps around the part is not rendered
            "may": {permission.value: allows(role, permission) for permission in Permission},
            **fragment.context(),
        }
        html = render_to_string(fragment.template, context)
    return Rendered(tuple(heads[event] or 0 for event in HEADS), html)


def is_newer(numbers: Numbers, shown: Numbers, fragment: Fragment) -> bool:
    """Whether something that the part shows is newer, and nothing older, than on a page with the numbers `shown`."""
    pairs = [(new, old) for event, new, old in zip(HEADS, numbers, shown, strict=True) if event in fragment.events]
    return any(new > old for new, old in pairs) and all(new >= old for new, old in pairs)


class Readers:
    """Looks once for all open pages who may still read, however many pages ask after one hint."""

    def __init__(self) -> None:
        self._looked: tuple[dict[str, int], asyncio.Task[dict[str, str]]] | None = None

    async def role_of(self, session_key: str, all_keys: Callable[[], list[str]]) -> str | None:
        """Return the role of the person whose session this is, looked up after the newest hint of this process.

        None where the session has ended, or is newer than the look. `all_keys` are the sessions of all open pages.
        """
        loop = asyncio.get_running_loop()
        newest = dict(events.newest_sent())
        looked = self._looked
        if looked is None or looked[0] != newest or looked[1].get_loop() is not loop or _failed(looked[1]):
            looked = (newest, loop.create_task(in_background(people.roles_of_sessions, all_keys())))
            self._looked = looked
        return (await asyncio.shield(looked[1])).get(session_key)


def _failed(task: "asyncio.Task[Any]") -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


class Fragments:
    """Renders each part once for a role, a time zone and the newest numbers, however many pages ask."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], tuple[Numbers, asyncio.Task[Rendered]]] = OrderedDict()

    async def current(self, name: str, role: str, zone: ZoneInfo | None) -> Rendered:
        """Return the part, rendered after the newest hint of this process. Raises what the database raises."""
        loop = asyncio.get_running_loop()
        newest = events.newest_sent()
        counters = [event for event in HEADS if event in FRAGMENTS[name].events]
        numbers = tuple(newest.get(event, 0) for event in (events.BEGINNING, *counters))
        key = (loop, name, role, zone and zone.key)
        kept = self._kept.get(key)
        if kept is None or kept[0] != numbers or _failed(kept[1]):
            self._kept[key] = kept = (numbers, loop.create_task(in_background(render, name, role, zone)))
        self._kept.move_to_end(key)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return await asyncio.shield(kept[1])


fragments = Fragments()  # this process's
readers = Readers()


def shown_numbers(given: Any) -> dict[str, Numbers]:
    """Return the known parts that a page says it shows, with their numbers; anything else is left out."""
    if not isinstance(given, dict):
        return {}
    found = {}
    for name, version in list(given.items())[: len(FRAGMENTS)]:
        words = version.split("-") if isinstance(version, str) and len(version) <= 80 else []
        if (
            name in FRAGMENTS
            and len(words) == len(HEADS)
            and all(word.isascii() and word.isdecimal() for word in words)
        ):
            found[name] = tuple(map(int, words))
    return found
