"""The fleet on pages: who gets a release in every review panel, the strip of the levers, and what a page has missed."""

from typing import Any

from promptops.fleet import now
from promptops.fleet.queries.levers import holding
from promptops.fleet.queries.servers import picture, recipients
from promptops.people.models import User
from promptops.platform import events
from promptops.platform.threads import in_background
from promptops.web import review
from promptops.web.fragments import FRAGMENTS, Fragment
from promptops.web.socket import PagePart


class PageFleet(PagePart):
    """The picture of the fleet that an open page shows."""

    async def arrive(self, user: User, data: dict[str, Any]) -> None:
        """Repeat the hint if the fleet has changed since the page was rendered, or while it was disconnected."""
        shown = data.get("fleet")
        if isinstance(shown, str) and shown != (await in_background(now.counts)).version:
            await self.page.page_event(events.message(events.FLEET_CHANGED, 0))


def register() -> None:
    """Let review panels name the servers, and open pages show the strip."""
    review.RECIPIENTS.append(lambda: recipients(picture()))
    FRAGMENTS["levers"] = Fragment(
        "fleet/_lever_strip.html", lambda: {"levers": holding()}, frozenset({events.REVISION_RELEASED})
    )
