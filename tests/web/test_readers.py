"""Reading the database for messages of pages that wait at the same time."""

import asyncio
import threading
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.core.exceptions import ValidationError
from django.db import connection, reset_queries

from promptops.ledger.audit import SYSTEM
from promptops.people.actions import accounts as people
from promptops.platform import events
from promptops.web.readers import read_for
from tests.web.sockets import page_socket

pytestmark = pytest.mark.django_db(transaction=True)


def count_from_now() -> None:
    """Count the statements of this thread from now on."""
    connection.force_debug_cursor = True
    reset_queries()


def counted() -> int:
    connection.force_debug_cursor = False
    return len(connection.queries)


@pytest.fixture
async def sessions(client_for, make_user):
    """The session keys of an editor and a viewer."""

    def sign_in(role: str) -> tuple[Any, str]:
        user = make_user(role, role)
        return user, client_for(user).session.session_key

    return [await database_sync_to_async(sign_in)(role) for role in ("editor", "viewer")]


async def test_messages_that_wait_at_once_share_the_look_up_of_their_people(sessions):
    (editor, editors_key), (viewer, viewers_key) = sessions
    go = threading.Event()
    first = asyncio.create_task(read_for("", lambda user: (user, go.wait(5), count_from_now())))
    await asyncio.sleep(0.05)
    keys = [editors_key, viewers_key, "unknown", editors_key] * 5
    waiting = [asyncio.create_task(read_for(key, lambda user: user)) for key in keys]
    await asyncio.sleep(0.05)
    go.set()
    assert (await first)[0] is None
    assert await asyncio.gather(*waiting) == [editor, viewer, None, editor] * 5
    assert await database_sync_to_async(counted)() == 2


async def test_a_refused_message_fails_no_other(sessions):
    (editor, key), _ = sessions

    def refuse(user: Any) -> None:
        raise ValidationError("no")

    results = await asyncio.gather(
        *(read_for(key, work) for work in (refuse, lambda user: user)), return_exceptions=True
    )
    assert isinstance(results[0], ValidationError)
    assert results[1] == editor


async def test_a_message_gets_the_person_as_of_now(sessions):
    (editor, key), _ = sessions
    assert await read_for(key, lambda user: user) == editor
    await database_sync_to_async(people.change_role)(editor, "viewer", by=SYSTEM)
    assert (await read_for(key, lambda user: user)).role == "viewer"
    await database_sync_to_async(people.deactivate)(editor, by=SYSTEM)
    assert await read_for(key, lambda user: user) is None


async def test_a_page_that_leaves_while_it_waits_stops_no_other(sessions):
    (editor, key), _ = sessions
    go = threading.Event()
    first = asyncio.create_task(read_for(key, lambda user: go.wait(5)))
    await asyncio.sleep(0.05)
    left, stays = (asyncio.create_task(read_for(key, lambda user: user)) for _ in range(2))
    await asyncio.sleep(0.05)
    for task in (first, left):
        task.cancel()
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.wait_for(stays, 5) == editor


async def test_a_hint_reaches_pages_while_the_thread_of_messages_is_busy(sessions):
    (editor, _), _ = sessions
    go = threading.Event()
    async with page_socket(editor) as socket:
        busy = asyncio.create_task(read_for("", lambda user: go.wait(10)))
        await asyncio.sleep(0.05)
        await events.tell_pages(events.REVISION_RELEASED, 999)
        try:
            async with asyncio.timeout(5):
                while '"number": 999' not in await socket.receive_from(timeout=5):
                    pass
        finally:
            go.set()
            await busy
