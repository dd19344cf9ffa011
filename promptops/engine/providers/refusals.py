"""Read the body of a refusal within a time limit. Finding the error in its JSON belongs to reported.py."""

from __future__ import annotations

import asyncio

from promptops.engine import http
from promptops.engine.providers.reading import parsed
from promptops.engine.providers.reported import ReportedError, error_of_text, read_error

REFUSAL_SECONDS = 0.5
"""The longest wait for the body of a refusal. Its status and headers have decided already what follows."""


async def reported_refusal(reply: http.Reply) -> ReportedError | None:
    """Return the error in the body of a refusal, or `None` if the body stalls, breaks off or is unreadable."""
    try:
        async with asyncio.timeout(REFUSAL_SECONDS):
            body = await reply.read()
    except (TimeoutError, http.CallFailed):
        return None
    data = parsed(body)
    if data is None and "text/plain" in reply.headers.get("content-type", ""):
        return error_of_text(body.decode("utf-8", "replace").strip())
    return read_error(data)
