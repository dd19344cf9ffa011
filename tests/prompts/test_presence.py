"""Presence in the editor: over real sockets, in one process and in two."""

import asyncio
import json
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from promptops.live import polling
from promptops.live import snapshots as live
from promptops.people.models import User
from promptops.platform import events
from promptops.prompts.actions import presence
from promptops.prompts.actions.drafts import save_draft
from promptops.prompts.actions.releases import Content
from promptops.prompts.models import Presence, Template
from promptops.prompts.queries.presence import at, initials
from tests.web.sockets import page_socket

pytestmark = pytest.mark.django_db(transaction=True)

in_thread = database_sync_to_async


async def open_editor(socket, name: str = "enhance") -> None:
    await socket.send_to(text_data=json.dumps({"action": "here", "template": name}))


async def until(condition, seconds: float = 3.0) -> None:
    """Wait until `condition()`, which may read the database, is true."""
    for _ in range(int(seconds / 0.02)):
        if await in_thread(condition)():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("It did not come true in time.")


async def hint(socket, seconds: float = 3.0) -> int:
    """Return the number of the next presence hint."""
    async with asyncio.timeout(seconds):
        while True:
            hint = json.loads(await socket.receive_from(timeout=seconds))
            if hint["event"] == "presence":
                return hint["number"]


def others(template: Template, user: User) -> list[tuple[str, bool]]:
    return [(person.name, person.has_draft) for person in at(template, user).others]


async def test_people_see_others_open_draft_and_close(publish, editor, releaser):
    template = (await in_thread(publish)("enhance", "First")).template
    async with page_socket(releaser) as watching:
        await open_editor(watching)
        assert await hint(watching) == template.pk
        async with page_socket(editor) as typing:
            await open_editor(typing)
            assert await hint(watching) == template.pk
            assert await in_thread(others)(template, releaser) == [("Eddie Editor", False)]
            assert await in_thread(others)(template, editor) == [("Rita Releaser", False)]
            base = template.live_version_id
            await in_thread(save_draft)(template, Content("Mine"), user=editor, base=base)
            assert await hint(watching) == template.pk
            assert await in_thread(others)(template, releaser) == [("Eddie Editor", True)]
        await until(lambda: not others(template, releaser))


async def test_a_page_with_an_unknown_template_has_no_presence(publish, viewer):
    await in_thread(publish)("enhance", "First")
    async with page_socket(viewer) as socket:
        for name in ("no-such", 7, None, ["enhance"], {"a": 1}):
            await open_editor(socket, name)
        await open_editor(socket)
        await open_editor(socket)  # again, as after a lost connection: it stays one page
        await until(Presence.objects.exists)
        assert await Presence.objects.acount() == 1


async def test_a_person_sees_that_they_have_two_windows(publish, editor, client_for):
    template = (await in_thread(publish)("enhance", "First")).template
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await open_editor(await stack.enter_async_context(page_socket(editor)))
        await until(lambda: at(template, editor).own_pages == 2)
        page = (await in_thread(client_for(editor).get)(reverse("template", args=["enhance"]))).content.decode()
        assert "You have this open in 2 windows" in page
    await until(lambda: not Presence.objects.exists())


def page_of(template: Template, user: User, channel: str, process: str = "another", age: float = 0) -> Presence:
    seen = timezone.now() - timedelta(seconds=age)
    return Presence.objects.create(template=template, user=user, channel=channel, process=process, seen_at=seen)


async def test_pages_of_another_process_are_seen_and_leave_when_it_dies(publish, editor, releaser):
    template = (await in_thread(publish)("enhance", "First")).template
    async with page_socket(releaser) as watching:
        await watching.receive_from(timeout=3)
        page = await in_thread(page_of)(template, editor, "elsewhere")
        assert await hint(watching) == template.pk
        assert await in_thread(others)(template, releaser) == [("Eddie Editor", False)]
        # A killed process sends no heartbeat.
        await Presence.objects.filter(pk=page.pk).aupdate(seen_at=timezone.now() - Presence.GONE_AFTER)
        assert await hint(watching) == template.pk
        assert await in_thread(others)(template, releaser) == []


async def test_a_page_gets_presence_from_before_its_process_started(publish, editor):
    template = (await in_thread(publish)("enhance", "First")).template
    await in_thread(page_of)(template, editor, "elsewhere")
    layer = get_channel_layer()
    page = await layer.new_channel()
    await layer.group_add(events.PAGES, page)
    following = asyncio.create_task(live.follow())
    try:
        async with asyncio.timeout(3):
            assert await layer.receive(page) == events.message("presence", template.pk)
    finally:
        following.cancel()


def test_the_heartbeat_is_one_write_for_all_pages_and_no_write_without_pages(publish, editor, releaser):
    template = publish("enhance", "First").template
    theirs = page_of(template, releaser, "elsewhere", age=20)
    with CaptureQueriesContext(connection) as captured:
        presence.still_here()
    assert len(captured) == 0
    for number in range(30):
        presence.arrive(template, user=editor, channel=f"c{number}")
    Presence.objects.exclude(pk=theirs.pk).update(seen_at=timezone.now() - timedelta(seconds=20))
    with CaptureQueriesContext(connection) as captured:
        presence.still_here()
    assert len(captured) == 1
    fresh = Presence.objects.filter(seen_at__gt=timezone.now() - timedelta(seconds=5))
    assert fresh.count() == 30
    assert theirs not in fresh
    for number in range(30):
        presence.leave(f"c{number}")
    with CaptureQueriesContext(connection) as captured:
        presence.still_here()
    assert len(captured) == 0


def test_rows_of_a_dead_process_are_deleted(publish, editor):
    template = publish("enhance", "First").template
    page_of(template, editor, "dead", age=2 * 3600)
    assert polling.look().values["presence"] == {}
    presence.arrive(template, user=editor, channel="c")
    assert [page.channel for page in Presence.objects.all()] == ["c"]
    presence.leave("c")


def test_a_page_that_reconnects_is_one_window(publish, editor, monkeypatch):
    template = publish("enhance", "First").template
    presence.arrive(template, user=editor, channel="page", connection="before")
    presence.arrive(template, user=editor, channel="page", connection="after")
    assert at(template, editor).own_pages == 1
    presence.leave("page", connection="before")  # the server hears late that the first connection is gone
    assert at(template, editor).own_pages == 1
    monkeypatch.setattr(presence, "_process", "restarted")
    monkeypatch.setattr(presence, "_connections", {})
    presence.arrive(template, user=editor, channel="page", connection="new")
    assert at(template, editor).own_pages == 1
    monkeypatch.undo()
    presence.leave("page", connection="after")  # the old process stops after the page has a new one
    assert at(template, editor).own_pages == 1


async def test_a_page_keeps_its_name_over_a_reconnect_and_cannot_take_that_of_another_person(publish, editor, releaser):
    template = (await in_thread(publish)("enhance", "First")).template
    here = {"action": "here", "template": "enhance", "page": "abc123"}
    async with page_socket(editor) as old, page_socket(editor) as new, page_socket(releaser) as other:
        for socket in (old, new, other):
            await socket.send_to(text_data=json.dumps(here))
        await until(lambda: Presence.objects.count() == 2)
        assert await in_thread(lambda: at(template, editor).own_pages)() == 1
        assert await in_thread(others)(template, editor) == [("Rita Releaser", False)]
        for name in ({"a": 1}, "x" * 200, "", None, 7):  # no name of a page: the connection counts as one
            async with page_socket(editor) as unnamed:
                await unnamed.send_to(text_data=json.dumps(here | {"page": name}))
                await until(lambda: at(template, editor).own_pages == 2)
            await until(lambda: at(template, editor).own_pages == 1)


def test_the_company_takes_one_query_for_1_and_30(publish, editor, make_user):
    template = publish("enhance", "First").template
    for count in (1, 30):
        for number in range(Presence.objects.count(), count):
            page_of(template, make_user("viewer", f"v{number}"), f"c{number}")
        with CaptureQueriesContext(connection) as captured:
            assert len(at(template, editor).others) == count
        assert len(captured) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Ada Lovelace", "AL"), ("Ada", "A"), ("Ada King Lovelace", "AL"), ("ß", "SS"), ("שלום עולם", "שע"), ("", "")],
)
def test_initials(name, expected):
    assert initials(name) == expected
