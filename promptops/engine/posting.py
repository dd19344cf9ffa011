"""One POST over a connection of its own, such as a webhook's. Calls to providers share connections (`engine.http`)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from promptops.engine.addresses import SocketFactory
from promptops.engine.http import CallFailed, PooledTransport, Reply, fetch

BODY_SECONDS = 2.0
"""The longest time that reading the body takes. What has come until then is enough."""


@dataclass(frozen=True)
class ShortReply:
    """An answer with the beginning of its body."""

    status: int
    headers: dict[str, str]
    start: bytes


async def post_once(
    url: str, body: bytes, headers: Mapping[str, str], *, socket_factory: SocketFactory, limit: int
) -> ShortReply:
    """Post `body`, and return the answer with at most `limit` bytes of its body. Redirects are answers.

    `socket_factory` makes the socket, and may refuse its address. The time limit is the caller's. Raises `CallFailed`.
    """
    pool = PooledTransport(socket_factory)
    try:
        async with await fetch("POST", url, headers=headers, content=body, pool=pool) as reply:
            return ShortReply(reply.status, reply.headers, await _start_of(reply, limit))
    finally:
        await pool.aclose()


async def _start_of(reply: Reply, limit: int) -> bytes:
    start = b""
    with suppress(CallFailed, TimeoutError):  # the status says enough
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in reply.chunks():
                start += chunk
                if len(start) >= limit:
                    break
    return start[:limit]
