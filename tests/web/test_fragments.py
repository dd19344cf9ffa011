"""Parts of pages that are rendered once and sent with the hint."""

import asyncio
import gc
import json
import threading
from collections import Counter
from contextlib import AsyncExitStack

import pytest
from channels.db import database_sync_to_async
from django.db import OperationalError

from promptops.ledger.models import LiveConfiguration
from promptops.ledger.models.releases import new_epoch
from promptops.live import polling
from promptops.people.models import User
from promptops.web import fragments
from promptops.web import socket as page_sockets
from promptops.web.fragments import FRAGMENTS, is_newer, shown_numbers
from tests.web.sockets import page_socket

pytestmark = pytest.mark.django_db(transaction=True)


def versions() -> str:
    return "-".join(str(number) for number in polling.heads().values())


async def parts(socket, *holds: str, seconds: float = 5) -> list[str]:
    """Return for each of the words the next part that is sent and contains them. They may come in any order."""
    found = {}
    async with asyncio.timeout(seconds):
        while len(found) < len(holds):
            text = await socket.receive_from(timeout=seconds)
            if text.startswith("{") and (sent := json.loads(text))["event"] == "fragment":
                found |= {words: sent["html"] for words in holds if words in sent["html"] and words not in found}
    return [found[words] for words in holds]


async def part(socket, holds: str, seconds: float = 5) -> str:
    """Return the next part that is sent and contains the words."""
    return (await parts(socket, holds, seconds=seconds))[0]


async def here(socket, *names: str, version: str = "") -> None:
    version = version or await database_sync_to_async(versions)()
    await socket.send_to(json.dumps({"action": "here", "shown": dict.fromkeys(names, version)}))


async def test_an_error_that_nobody_waits_for_is_not_logged(monkeypatch, caplog):
    begun, may_fail, failed = threading.Event(), threading.Event(), threading.Event()

    def unreadable(*arguments):
        begun.set()
        may_fail.wait(60)
        failed.set()
        raise OperationalError("connection refused")

    monkeypatch.setattr(fragments, "render", unreadable)
    kept = fragments.Fragments()
    page = asyncio.create_task(kept.current("live-badge", "viewer", None))
    await asyncio.to_thread(begun.wait, 60)
    page.cancel()  # its page was closed
    with pytest.raises(asyncio.CancelledError):
        await page
    may_fail.set()
    await asyncio.to_thread(failed.wait, 60)
    await asyncio.wait([task for _, task in kept._renderings.values()])
    del kept
    gc.collect()
    await asyncio.sleep(0)
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


async def test_a_part_from_before_a_restore_is_not_sent_to_a_page_after_it(publish, viewer):
    for text in ("Before the backup.", "After the backup."):
        await database_sync_to_async(publish)("enhance", text)
    async with page_socket(viewer) as before:
        await here(before, "live-badge", version="0-0-0")
        await part(before, "r2 live")  # this process keeps it
    await LiveConfiguration.objects.aupdate(revision=1, epoch=new_epoch())  # another process restores a backup
    async with page_socket(viewer) as after:
        await here(after, "live-badge", version="1-0-0")
        with pytest.raises(TimeoutError):
            await part(after, "r2 live", seconds=1)


async def test_a_part_is_rendered_once_for_each_role_however_many_pages_show_it(publish, make_user, monkeypatch):
    await database_sync_to_async(publish)("enhance", "Before")
    people = [
        await database_sync_to_async(make_user)(role, f"{role}{number}")
        for role in ("viewer", "editor")
        for number in "123"
    ]
    rendered = Counter()
    original = fragments.render

    def counted(name, role, zone):
        rendered[name, str(role)] += 1
        return original(name, role, zone)

    monkeypatch.setattr(fragments, "render", counted)
    monkeypatch.setattr(page_sockets, "SECONDS_BETWEEN_PUSHES", 0.3)
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(page_socket(person)) for person in people]
        for socket in sockets:
            await here(socket, "live-badge", "overview")
        before = Counter({"none yet": 1})
        while rendered != before:  # until the pages show what their opening has recorded
            before = rendered.copy()
            await asyncio.sleep(1)
        rendered.clear()
        await database_sync_to_async(publish)("enhance", "After", note="the new one")
        for socket, person in zip(sockets, people, strict=True):
            # The hint of the audit may come first. It brings the overview, and the hint of the release the badge.
            badge, overview = await parts(socket, 'id="live-badge"', "the new one")
            assert "r2 live" in badge
            assert ("Create a template" in overview) == (person.role == "editor")
    assert rendered["live-badge", "viewer"] == rendered["live-badge", "editor"] == 1
    assert 1 <= rendered["overview", "viewer"] <= 2  # the hints of the audit and the release may come separately


async def test_a_reconnected_page_gets_missed_parts_and_a_current_one_gets_nothing(publish, viewer):
    before = await database_sync_to_async(versions)()
    await database_sync_to_async(publish)("enhance", "Text")
    async with page_socket(viewer) as socket:
        await here(socket, "live-badge", version=before)
        assert "r1 live" in await part(socket, 'id="live-badge"')
        await here(socket, "live-badge")
        with pytest.raises(TimeoutError):
            await part(socket, "", seconds=1.5)


async def test_nothing_is_sent_to_a_person_who_is_no_longer_active(publish, viewer, monkeypatch):
    """The hint that closes their pages may come after one that brings a part."""
    monkeypatch.setattr(page_sockets.events, "USER_CHANGED", "never sent")
    await database_sync_to_async(publish)("enhance", "Before")
    async with page_socket(viewer) as socket:
        await here(socket, "live-badge")
        await asyncio.sleep(0.2)
        await User.objects.filter(pk=viewer.pk).aupdate(is_active=False)
        await database_sync_to_async(publish)("enhance", "After")
        with pytest.raises((TimeoutError, AssertionError)):
            await part(socket, "", seconds=2)


def test_a_part_is_sent_only_if_it_is_newer():
    badge, figures = FRAGMENTS["live-badge"], FRAGMENTS["figures-24"]
    assert is_newer((2, 5, 5), (1, 5, 5), badge)
    assert not is_newer((2, 9, 9), (2, 5, 5), badge)  # it shows only the revision
    assert not is_newer((2, 5, 4), (1, 5, 5), figures)  # the page has a run that was read later
    assert is_newer((2, 4, 5), (1, 5, 5), figures)


@pytest.mark.parametrize(
    "shown",
    [
        None,
        [],
        "x",
        {"no-such-part": "1-2-3"},
        {"overview": "1-2"},
        {"overview": "1-2-x"},
        {"overview": 7},
        {"overview": "9" * 90},
    ],
)
def test_unknown_and_malformed_parts_are_left_out(shown):
    assert shown_numbers(shown) == {}


def test_pages_spread_their_requests_only_if_many_are_open(monkeypatch):
    monkeypatch.setattr(page_sockets, "open_pages", range(20))
    assert page_sockets._spread() == {}
    monkeypatch.setattr(page_sockets, "open_pages", range(500))
    assert page_sockets._spread() == {"spread": 5000}
