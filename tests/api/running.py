"""Shared parts of the tests that run operations: providers on loopback, live texts, and the runs as recorded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from channels.db import database_sync_to_async

from promptops.ledger.audit import SYSTEM
from promptops.runs.models import Run
from promptops.safety.actions.filter_settings import SafetyChange, Term, change_safety
from promptops.safety.models import SafetySettings
from tests.engine.helpers import Loopback, Respond, answer_with, completion, http_answer, loopback
from tests.factories import make_provider, publish

FOX = answer_with(http_answer(completion("A red fox.")))
BROKEN = answer_with(http_answer({"error": {"message": "down"}}, status=503))
OPERATIONS = ("enhance", "auto_extend", "rewrite")


def text_answer(text: str) -> Respond:
    """Return a responder that answers with `text`."""
    return answer_with(http_answer(completion(text)))


@asynccontextmanager
async def providers(*responds: Respond) -> AsyncIterator[list[Loopback]]:
    """Publish a text for each built-in operation, and let providers p1, p2, ... on loopback respond."""

    def set_up(servers: list[Loopback]) -> None:
        for name in OPERATIONS:
            publish(name, f"The {name} text.")
        for number, server in enumerate(servers, start=1):
            make_provider(f"p{number}", base_url=server.url, model=f"m{number}")

    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(loopback(respond)) for respond in responds]
        await in_database(set_up, servers)
        yield servers


async def in_database(work: Any, *arguments: Any, **named: Any) -> Any:
    """Call `work` in a thread with the database."""
    return await database_sync_to_async(work)(*arguments, **named)


def deny(term: str, *, mode: str = "enforce") -> None:
    """Turn the safety filter on, with a term that it blocks."""
    expected = SafetySettings.objects.get(pk=1).changed_revision
    change_safety(SafetyChange(mode=mode, terms=(Term("deny", term, "violence"),)), by=SYSTEM, expected=expected)


async def recorded(count: int = 1) -> list[Run]:
    """Return the runs, oldest first, once so many are recorded."""
    async with asyncio.timeout(5):
        while await Run.objects.acount() < count:  # noqa: ASYNC110 -- another thread records them
            await asyncio.sleep(0.01)
    return [run async for run in Run.objects.select_related("template", "version", "token").order_by("pk")]
