"""Presence across processes: watching which editors are open elsewhere, and the heartbeat of the own pages."""

import asyncio
import logging
from typing import Any

from django.db.models import Exists, OuterRef, Subquery
from django.db.models.functions import JSONArray

from promptops.live import polling
from promptops.platform import background, events
from promptops.platform.threads import in_background
from promptops.prompts.actions import presence
from promptops.prompts.models import Draft, Presence

log = logging.getLogger(__name__)

Editors = dict[int, frozenset[tuple[int, bool]]]
"""Template id -> the open pages of its editor: id of the presence row, and whether that person has a draft."""


def _query() -> Subquery:
    draft = Draft.objects.filter(template=OuterRef("template"), user=OuterRef("user"))
    return Subquery(Presence.current().values(rows=polling.JSONRows(JSONArray("template_id", "pk", Exists(draft)))))


def _parse(rows: Any) -> Editors:
    editors: dict[int, set[tuple[int, bool]]] = {}
    for template, page, has_draft in rows or []:
        editors.setdefault(template, set()).add((page, bool(has_draft)))
    return {template: frozenset(pages) for template, pages in editors.items()}


async def _tell_pages(before: Editors, now: Editors, in_thread: polling.InThread) -> None:
    for template in {*before, *now}:
        if before.get(template) != now.get(template):
            await events.tell_pages(events.PRESENCE_CHANGED, template)


polling.watch("presence", polling.Watch(_query, _parse, _tell_pages))


@background.task
async def heartbeat() -> None:
    """Report every `HEARTBEAT_SECONDS` that the pages of this process are still open."""
    while True:
        await asyncio.sleep(presence.HEARTBEAT_SECONDS)
        try:
            await in_background(presence.still_here)
        except Exception:
            log.exception("The heartbeat of open pages failed; trying again in %d s.", presence.HEARTBEAT_SECONDS)
