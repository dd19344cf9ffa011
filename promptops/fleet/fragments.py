"""The sentence of every review panel that says which servers get a release."""

from promptops.fleet.queries.servers import picture, recipients
from promptops.web import review


def register() -> None:
    """Let review panels name the servers."""
    review.RECIPIENTS.append(lambda: recipients(picture()))
