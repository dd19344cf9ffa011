"""After a restore, which starts a new epoch, this process and its open pages take over lower numbers."""

import json

import pytest
from channels.db import database_sync_to_async

from promptops.engine.types import PromptOperation
from promptops.ledger.models import AuditEntry, LiveConfiguration
from promptops.ledger.models.releases import new_epoch
from promptops.live import polling
from promptops.live import snapshots as live
from promptops.prompts.models import Template
from promptops.providers import following
from tests.live.test_snapshots import next_event
from tests.web.sockets import page_socket
from tests.web.test_fragments import here, part

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def restore(publish):
    """Publish two versions; return what puts the database back to the first one, as another process would."""
    first = publish("enhance", "Before the backup.")
    epoch = LiveConfiguration.objects.get().epoch
    publish("enhance", "After the backup.")
    live.current()

    def put_back() -> str:
        Template.objects.update(live_version=first)
        LiveConfiguration.objects.update(revision=1, epoch=(new := new_epoch()))
        assert new != epoch
        return new

    return put_back


def test_every_database_has_an_epoch_of_its_own(db):
    assert len(LiveConfiguration.objects.get().epoch) == 16
    assert (
        polling.heads().epoch
        == polling.look().heads.epoch
        == live.load().epoch
        == LiveConfiguration.objects.get().epoch
    )
    assert new_epoch() != new_epoch()


async def test_an_open_page_gets_the_lower_revision_and_the_process_runs_it(restore, viewer):
    async with page_socket(viewer) as socket:
        first = await next_event(socket, "revision")
        assert (first["number"], (await live.acurrent()).revision) == (2, 2)
        await here(socket, "live-badge")
        epoch = await database_sync_to_async(restore)()
        assert epoch != first["epoch"]
        after = await next_event(socket, "revision")
        assert (after["number"], after["epoch"]) == (1, epoch)
        assert (await live.acurrent()).template_for(PromptOperation.ENHANCE).body == "Before the backup."
        assert "r1 live" in await part(socket, 'id="live-badge"')  # for a page that cannot reload yet


async def test_a_page_that_was_disconnected_during_the_restore_hears_of_the_epoch_first(restore, viewer):
    epoch = await database_sync_to_async(restore)()
    async with page_socket(viewer) as socket:
        first = json.loads(await socket.receive_from())
        assert (first["event"], first["number"], first["epoch"]) == ("revision", 1, epoch)


def test_a_page_carries_the_epoch(client_for, viewer, restore):
    assert f'data-epoch="{LiveConfiguration.objects.get().epoch}"' in client_for(viewer).get("/").content.decode()


def test_a_snapshot_of_another_epoch_replaces_a_newer_number(restore):
    assert live.current().revision == 2
    restore()
    assert live.refresh().revision == live.current().revision == 1


def test_a_process_ends_cooldowns_again_whose_entries_have_used_numbers(restore, monkeypatch):
    ended = []
    monkeypatch.setattr(live.health, "end_cooldown", ended.append)
    entry = AuditEntry.objects.latest("seq").seq
    following.end_cooldown("one", entry)
    following.end_cooldown("one", entry)
    restore()
    live.refresh()
    following.end_cooldown("one", entry)
    assert ended == ["one", "one"]
