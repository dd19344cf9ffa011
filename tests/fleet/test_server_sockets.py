"""The sockets of servers through the whole application: registering, hints, acknowledgements, and how they end."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from channels.db import database_sync_to_async
from channels.testing import WebsocketCommunicator
from django.utils import timezone

from promptops.asgi import application
from promptops.fleet import connections, socket
from promptops.fleet.enums import Outcome
from promptops.fleet.models import Acknowledgement, Server
from promptops.ledger.audit import SYSTEM
from promptops.live import documents
from promptops.live import snapshots as live
from promptops.people.actions import tokens
from promptops.platform import background
from promptops.platform.draining import gate
from tests.factories import publish as publish_now
from tests.fleet.servers import runs

pytestmark = pytest.mark.django_db(transaction=True)

REGISTER = {
    "type": "register",
    "server": "gpu-7",
    "instance": "1",
    "kind": "library",
    "state": "ready",
    "version": "0.2.0",
    "labels": {"zone": "a"},
    "filtered": True,
    "revision": None,
}


@pytest.fixture
def make_token(actor):
    """`make_token("follow", server="gpu-7")`: a token in the database, and its text."""

    def make(*scopes: str, name: str = "fleet", **more):
        return tokens.make_token(name, scopes or ("follow",), by=actor, **more)

    return make


@pytest.fixture
def first(publish):
    publish("enhance", "First")


@asynccontextmanager
async def tasks() -> AsyncIterator[None]:
    """Run the tasks of a server, and let them write before they end."""
    background.start()
    try:
        yield
    finally:
        await background.stop()


@asynccontextmanager
async def connected(text: str, **headers: str) -> AsyncIterator[WebsocketCommunicator]:
    """Yield the open socket of a server that comes with this token."""
    lines = [(b"host", b"testserver"), (b"authorization", f"Bearer {text}".encode())]
    server = WebsocketCommunicator(application, "/ws/v1/fleet", headers=lines)
    is_open, _ = await server.connect(timeout=5)
    assert is_open
    try:
        yield server
    finally:
        await server.disconnect()


async def register(server: WebsocketCommunicator, name: str = "gpu-7") -> dict:
    await server.send_json_to(REGISTER | {"server": name})
    return await server.receive_json_from(timeout=5)


async def ending(server: WebsocketCommunicator) -> tuple[int, str]:
    """Return the close code and the sentence before it."""
    said = await server.receive_json_from(timeout=5)
    assert said["type"] == "error", said
    closed = await server.receive_output(timeout=5)
    assert closed["type"] == "websocket.close", closed
    return closed["code"], said["detail"]


async def until(condition, seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not await database_sync_to_async(condition)():  # noqa: ASYNC110 -- the database tells nobody
            await asyncio.sleep(0.02)


async def test_a_server_hears_of_a_release_after_the_swap_and_acknowledges_it(first, make_token):
    _, text = await database_sync_to_async(make_token)()
    async with tasks(), connected(text) as server:
        answer = await register(server)
        assert (answer["type"], answer["heartbeat_seconds"]) == ("registered", 10)
        assert answer["revision"] == live.current().revision
        await database_sync_to_async(publish_now)("enhance", "Second", by=SYSTEM)
        hint = await server.receive_json_from(timeout=5)
        assert (hint["type"], hint["revision"]) == ("revision", answer["revision"] + 1)
        document = documents.current()
        assert (document.revision, document.epoch) == (hint["revision"], hint["epoch"])
        await server.send_json_to({"type": "applied", **runs(document)})
        acknowledged = Acknowledgement.objects.filter(server="gpu-7", revision=hint["revision"])
        await until(lambda: acknowledged.filter(outcome=Outcome.APPLIED).exists())
    row = await Server.objects.aget(name="gpu-7")
    assert (row.revision, row.sha256, row.labels, row.version) == (
        document.revision,
        document.sha256,
        {"zone": "a"},
        "0.2.0",
    )
    assert not row.is_connected


async def test_the_process_itself_is_a_server_that_acknowledges(first):
    async with tasks():
        await until(lambda: Server.objects.filter(kind="process", revision=live.current().revision).exists())
        await database_sync_to_async(publish_now)("enhance", "Second", by=SYSTEM)
        revision = live.current().revision
        await until(lambda: Acknowledgement.objects.filter(kind="process", revision=revision).exists())


async def test_a_heartbeat_is_answered_with_what_is_live(first, make_token):
    _, text = await database_sync_to_async(make_token)()
    async with tasks(), connected(text) as server:
        await register(server)
        await server.send_json_to({"type": "heartbeat", "revision": None, "state": "stale"})
        answer = await server.receive_json_from(timeout=5)
        assert (answer["type"], answer["revision"]) == ("revision", live.current().revision)


@pytest.mark.parametrize("text", ["", "nonsense", "po_" + "x" * 43])
async def test_without_a_valid_token_a_socket_closes_and_says_why(first, text):
    async with connected(text) as server:
        code, detail = await ending(server)
    assert code == connections.BAD_TOKEN
    assert text not in detail or not text


async def test_a_token_without_the_scope_cannot_follow(first, make_token):
    _, text = await database_sync_to_async(make_token)("read", "run")
    async with connected(text) as server:
        assert (await ending(server))[0] == connections.NOT_ALLOWED


@pytest.mark.parametrize(("name", "may"), [("gpu-7", True), ("gpu-8", False)])
async def test_a_token_of_one_server_admits_no_other(first, make_token, name, may):
    _, text = await database_sync_to_async(make_token)(server="gpu-7")
    async with connected(text) as server:
        await server.send_json_to(REGISTER | {"server": name})
        if may:
            assert (await server.receive_json_from(timeout=5))["type"] == "registered"
        else:
            code, detail = await ending(server)
            assert code == connections.NOT_ALLOWED
            assert "gpu-7" in detail


@pytest.mark.parametrize(
    "frame",
    [
        "{",
        "[]",
        json.dumps({"type": "hello"}),
        json.dumps({"type": "heartbeat", "revision": None, "state": "ready"}),
        json.dumps(REGISTER | {"labels": {"a": "x" * 20_000}}),
    ],
)
async def test_a_bad_message_closes_the_socket(first, make_token, frame):
    _, text = await database_sync_to_async(make_token)()
    async with connected(text) as server:
        await server.send_to(text_data=frame)
        assert (await ending(server))[0] == connections.BAD_MESSAGE


async def test_bytes_close_the_socket(first, make_token):
    _, text = await database_sync_to_async(make_token)()
    async with connected(text) as server:
        await server.send_to(bytes_data=b"\x00")
        assert (await ending(server))[0] == connections.BAD_MESSAGE


async def test_a_flood_of_messages_closes_the_socket(first, make_token, monkeypatch):
    monkeypatch.setattr(socket, "MOST_MESSAGES", 3)
    _, text = await database_sync_to_async(make_token)()
    async with connected(text) as server:
        await register(server)
        for _ in range(3):
            await server.send_json_to({"type": "refused", "revision": 1, "epoch": "e"})
        assert (await ending(server))[0] == connections.BAD_MESSAGE


async def test_revoking_a_token_closes_its_sockets_at_once_and_no_others(first, make_token, actor):
    token, text = await database_sync_to_async(make_token)()
    _, other = await database_sync_to_async(make_token)(name="other")
    async with tasks(), connected(text) as revoked, connected(other) as kept:
        await register(revoked)
        await register(kept, "gpu-8")
        await database_sync_to_async(tokens.revoke_token)(token, by=actor)
        assert (await ending(revoked))[0] == connections.BAD_TOKEN
        await kept.send_json_to({"type": "heartbeat", "revision": None, "state": "ready"})
        assert (await kept.receive_json_from(timeout=5))["type"] == "revision"


async def test_a_stopping_process_sends_its_servers_away(first, make_token, monkeypatch):
    _, text = await database_sync_to_async(make_token)()
    monkeypatch.setattr(gate, "closed", False)  # and so again after the test
    async with tasks(), connected(text) as server:
        await register(server)
        await gate.drain(0)
        assert (await ending(server))[0] == connections.RESTARTING
        async with connected(text) as late:
            assert (await ending(late))[0] == connections.RESTARTING


async def test_a_socket_without_heartbeats_closes(first, make_token):
    _, text = await database_sync_to_async(make_token)()
    async with connected(text) as server:
        await register(server)
        (open_one,) = connections.of_running_loop()
        open_one.heard -= 29
        await connections.end_silent(timezone.now())
        assert not open_one.has_ended
        open_one.heard -= 2
        await connections.end_silent(timezone.now())
        assert (await ending(server))[0] == connections.SILENT


async def test_a_server_that_connects_again_is_not_shown_as_gone_by_its_old_socket(first, make_token):
    _, text = await database_sync_to_async(make_token)()
    async with tasks(), connected(text) as old:
        await register(old)
        async with connected(text) as new:
            await register(new)
            await old.disconnect()
            await new.send_json_to({"type": "heartbeat", "revision": None, "state": "stale"})
            await new.receive_json_from(timeout=5)
            await until(lambda: Server.objects.filter(name="gpu-7", state="stale").exists())
            assert (await Server.objects.aget(name="gpu-7")).is_connected


async def test_pages_still_need_their_origin(first, make_token):
    """The socket of servers is outside the check of the origin. All others are not."""
    page = WebsocketCommunicator(application, "/ws/", headers=[(b"host", b"testserver")])
    is_open, _ = await page.connect(timeout=5)
    assert not is_open


@pytest.mark.parametrize(
    ("wants", "most", "has_document"), [(True, None, True), (False, None, False), (True, 10, False)]
)
async def test_the_document_comes_with_the_hint_where_it_is_wanted_and_short(
    first, make_token, monkeypatch, wants, most, has_document
):
    if most:
        monkeypatch.setattr(connections, "MAX_PUSHED_BYTES", most)
    _, text = await database_sync_to_async(make_token)()
    async with tasks(), connected(text) as server:
        await server.send_json_to(REGISTER | {"documents": wants})
        await server.receive_json_from(timeout=5)
        await database_sync_to_async(publish_now)("enhance", "Second", by=SYSTEM)
        hint = await server.receive_json_from(timeout=5)
        assert hint["revision"] == live.current().revision
        assert hint.get("document") == (dict(documents.current().values) if has_document else None)


async def test_a_token_that_is_used_at_once_keeps_its_socket(first, make_token):
    """The next look at the database finds a new token, not a change of one."""
    async with tasks():
        await until(lambda: Server.objects.filter(kind="process").exists())
        _, text = await database_sync_to_async(make_token)()
        async with connected(text) as server:
            await register(server)
            assert await server.receive_nothing(timeout=2 * live.FOLLOW_SECONDS)
