"""The limit of open pages of one person."""

import json

import pytest

from promptops.web import socket
from tests.web.sockets import page_socket

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_person_has_at_most_the_allowed_pages_open(settings, viewer, editor):
    settings.SOCKETS_PER_PERSON = 2
    async with page_socket(viewer) as first, page_socket(viewer) as second:
        assert first
        assert second
        async with page_socket(viewer) as third:
            assert "You have 2 pages open" in await third.receive_from()
            assert json.loads(await third.receive_from())["event"] == "refused"
            closed = await third.receive_output()
            assert (closed["type"], closed["code"]) == ("websocket.close", socket.TOO_MANY)
        async with page_socket(editor) as theirs:  # the limit is per person
            assert json.loads(await theirs.receive_from())["event"] == "revision"
        await second.disconnect()
        async with page_socket(viewer) as after:  # and counts open pages only
            assert json.loads(await after.receive_from())["event"] == "revision"
    assert not socket.pages_of
