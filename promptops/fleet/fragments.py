"""The sentence of every review panel that says which servers get a release, and the strip of the levers."""

from promptops.fleet.queries.levers import holding
from promptops.fleet.queries.servers import picture, recipients
from promptops.platform import events
from promptops.web import review
from promptops.web.fragments import FRAGMENTS, Fragment


def register() -> None:
    """Let review panels name the servers, and open pages show the strip."""
    review.RECIPIENTS.append(lambda: recipients(picture()))
    FRAGMENTS["levers"] = Fragment(
        "fleet/_lever_strip.html", lambda: {"levers": holding()}, frozenset({events.REVISION_RELEASED})
    )
