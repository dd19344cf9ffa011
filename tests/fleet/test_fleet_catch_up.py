"""An open page catches up with the fleet when its socket opens: at first, and after each reconnect."""

import pytest
from channels.db import database_sync_to_async

from promptops.fleet import now
from promptops.fleet.fragments import PageFleet
from promptops.platform import events
from tests.fleet.servers import save_server

pytestmark = pytest.mark.django_db(transaction=True)

in_thread = database_sync_to_async


class Page:
    """Takes the hints of one open page. The background tasks, which send hints as well, do not run here."""

    def __init__(self) -> None:
        self.hints: list[str] = []

    async def page_event(self, message: dict) -> None:
        self.hints.append(message["event"])


async def hints(viewer, shown: object) -> list[str]:
    """Return the hints that a page gets which shows that picture of the fleet."""
    page = Page()
    await PageFleet(page).arrive(viewer, {"action": "here", "fleet": shown})
    return page.hints


async def test_a_page_that_missed_a_change_gets_the_hint_again(viewer):
    shown = (await in_thread(now.counts)()).version
    await in_thread(save_server)("gpu-1")
    assert await hints(viewer, shown) == [events.FLEET_CHANGED]


async def test_a_page_that_shows_the_newest_picture_fetches_nothing(viewer):
    await in_thread(save_server)("gpu-1")
    assert await hints(viewer, (await in_thread(now.counts)()).version) == []


async def test_the_picture_has_the_same_name_after_another_look_and_in_memory(viewer):
    await in_thread(save_server)("gpu-1")
    shown = (await in_thread(now.counts)()).version
    await in_thread(now.refresh)()
    assert await hints(viewer, shown) == []


@pytest.mark.parametrize("shown", [None, 7, ["a"], {}])
async def test_a_page_that_names_no_picture_gets_no_hint(viewer, shown):
    assert await hints(viewer, shown) == []
