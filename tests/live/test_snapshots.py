"""The snapshot in memory: loading, swapping, following other processes, and the socket's hints."""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from channels.db import database_sync_to_async
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from promptops.engine.types import PromptOperation
from promptops.ledger.models import AuditEntry
from promptops.live import polling
from promptops.live import snapshots as live
from promptops.platform import crypto, events
from promptops.prompts.actions import releases
from promptops.prompts.actions.prompts import export_prompts
from promptops.prompts.actions.releases import Content
from promptops.prompts.actions.templates import make_default
from promptops.prompts.models import Draft, Template
from promptops.providers.actions import chain
from promptops.providers.actions.chain import ProviderFields
from tests.client.loopback import until
from tests.web.sockets import page_socket

pytestmark = pytest.mark.django_db(transaction=True)


def database_url() -> str:
    """Return the test's database as a URL for other processes."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    return f"postgresql://{database['USER']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a management command in another process, on the test's database."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=settings.BASE_DIR,
        env=os.environ | {"DATABASE_URL": database_url()} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


async def next_event(socket, event: str, timeout: float = 30.0) -> dict:
    """Return the next hint of this event, skipping others."""
    async with asyncio.timeout(timeout):
        while True:
            text = await socket.receive_from(timeout=timeout)
            if text.startswith("{") and (hint := json.loads(text))["event"] == event:
                return hint


def test_the_snapshot_has_the_live_configuration_and_hides_keys_in_its_repr(publish, actor):
    publish("enhance", "Text", temperature=0.3)
    for name, enabled in (("one", True), ("two", False)):
        chain.create_provider(
            ProviderFields(name, "openai", "m", "http://127.0.0.1:9/v1"), by=actor, key=f"sk-{name}", enabled=enabled
        )
    snapshot = live.load()
    assert [(spec.name, spec.api_key) for spec in snapshot.providers] == [("one", "sk-one")]
    template = snapshot.template_for(PromptOperation.ENHANCE)
    assert (template.body, template.temperature, template.version_number) == ("Text", 0.3, 1)
    assert snapshot.template_for(PromptOperation.REWRITE) is None
    assert "sk-one" not in repr(snapshot)


def test_reading_the_snapshot_takes_no_query_and_loading_it_nine(publish, django_assert_num_queries):
    publish("enhance", "Text")
    live.current()
    with django_assert_num_queries(0):
        live.current()
    with django_assert_num_queries(9):
        live.load()


def test_an_older_load_never_replaces_a_newer_one(publish, monkeypatch):
    publish("enhance", "One")
    old = live.load()
    publish("enhance", "Two")
    newest = live.current()
    monkeypatch.setattr(live, "load", lambda: old)
    assert live.refresh() is newest


def test_an_unreadable_key_leaves_the_rest_working(publish, actor, settings, caplog):
    publish("enhance", "Text")
    chain.create_provider(ProviderFields("one", "openai", "m", "http://127.0.0.1:9/v1"), by=actor, key="sk-one")
    settings.SECRET_KEY = "another key, as after a loss of the first one"
    assert live.load().providers[0].api_key is None
    assert "Enter it again" not in caplog.text
    assert "Enter the key again" in caplog.text
    with pytest.raises(crypto.UnreadableSecret):
        crypto.decrypt(chain.Provider.objects.get().key_encrypted)


def late_looks(monkeypatch) -> threading.Event:
    """Let each look at the database wait for the event."""
    may_look = threading.Event()
    look = polling.look

    def late_look():
        may_look.wait(300)
        return look()

    monkeypatch.setattr(polling, "look", late_look)
    return may_look


async def test_another_process_publishes_and_this_one_follows(publish, make_user, tmp_path):
    await database_sync_to_async(publish)("enhance", "Before")
    viewer = await database_sync_to_async(make_user)("viewer", "vera")
    file = tmp_path / "new.txt"
    file.write_text("After\n")
    async with page_socket(viewer) as socket:
        first = await next_event(socket, "revision")
        assert (await live.acurrent()).template_for(PromptOperation.ENHANCE).body == "Before"
        done = await asyncio.to_thread(manage, "publish", "enhance", "--file", str(file), "--note", "by hand")
        assert (done.returncode, done.stdout) == (0, "enhance v2 is live.\n"), done.stderr
        assert (await next_event(socket, "revision", timeout=10))["number"] == first["number"] + 1
        assert (await live.acurrent()).template_for(PromptOperation.ENHANCE).body == "After"


async def test_a_release_in_this_process_reaches_open_pages_without_a_look(publish, make_user, actor, monkeypatch):
    version = await database_sync_to_async(publish)("enhance", "Before")
    viewer = await database_sync_to_async(make_user)("viewer", "vera")

    def release():
        template = Template.objects.get()
        releases.publish(template, Content("After"), by=actor, expected=version.pk)

    may_look = late_looks(monkeypatch)
    async with page_socket(viewer) as socket:
        try:
            first = await next_event(socket, "revision")
            await database_sync_to_async(release)()
            assert (await next_event(socket, "revision"))["number"] == first["number"] + 1
        finally:
            may_look.set()


async def test_a_release_after_a_page_connects_and_before_the_first_look_reaches_the_page(
    publish, make_user, tmp_path, monkeypatch
):
    """A server has just started; another process releases."""
    await database_sync_to_async(publish)("enhance", "Before")
    viewer = await database_sync_to_async(make_user)("viewer", "vera")
    file = tmp_path / "new.txt"
    file.write_text("After\n")
    may_look = late_looks(monkeypatch)
    async with page_socket(viewer) as socket:
        try:
            first = await next_event(socket, "revision")
            done = await asyncio.to_thread(manage, "publish", "enhance", "--file", str(file))
            assert done.returncode == 0, done.stderr
        finally:
            may_look.set()
        assert (await next_event(socket, "revision"))["number"] == first["number"] + 1


async def test_a_release_while_a_page_connects_reaches_the_page(publish, make_user, monkeypatch):
    await database_sync_to_async(publish)("enhance", "Before")
    viewer = await database_sync_to_async(make_user)("viewer", "vera")
    heads = polling.heads

    def heads_before_a_release():
        read = heads()
        monkeypatch.setattr(polling, "heads", heads)
        publish("enhance", "After")
        return read

    monkeypatch.setattr(polling, "heads", heads_before_a_release)
    async with page_socket(viewer) as socket:
        first = await next_event(socket, "revision")
        assert (await next_event(socket, "revision"))["number"] == first["number"] + 1


async def test_a_release_elsewhere_is_swapped_in_before_pages_hear_of_it(publish, monkeypatch):
    """Redis calls `hear`. The other process has committed, and this one still has the old snapshot."""
    await database_sync_to_async(publish)("enhance", "Before")
    old = await live.acurrent()
    await database_sync_to_async(publish)("enhance", "After")
    monkeypatch.setattr(live, "_current", old)
    revision_at_hint = []

    async def group_send(self, group, message):
        revision_at_hint.append((message["number"], live.current().revision))

    monkeypatch.setattr("channels.layers.InMemoryChannelLayer.group_send", group_send)
    await live.hear(events.REVISION_RELEASED, old.revision + 1)
    assert revision_at_hint == [(old.revision + 1, old.revision + 1)]


async def test_a_hint_of_a_release_waits_while_the_database_is_unavailable(publish, monkeypatch):
    await database_sync_to_async(publish)("enhance", "Text")
    sent = []

    async def group_send(self, group, message):
        sent.append(message["number"])

    def unreadable():
        raise OperationalError("the database is unavailable")

    monkeypatch.setattr("channels.layers.InMemoryChannelLayer.group_send", group_send)
    revision = (await live.acurrent()).revision + 1
    with monkeypatch.context() as outage:
        outage.setattr(live, "load", unreadable)
        await live.hear(events.REVISION_RELEASED, revision)
    assert sent == []
    await live.hear(events.REVISION_RELEASED, revision)
    assert sent == [revision]


async def test_a_hint_is_sent_once_although_the_follower_sees_it_too(publish, make_user):
    await database_sync_to_async(publish)("enhance", "Before")
    viewer = await database_sync_to_async(make_user)("viewer", "vera")
    opened = time.monotonic()
    async with page_socket(viewer) as socket:
        first = await next_event(socket, "revision")
        for _ in range(500):  # the first look gives pages everything again
            if (live.following.polled_at or 0) > opened:
                break
            await asyncio.sleep(0.01)
        await database_sync_to_async(publish)("enhance", "After")
        await events.tell_pages(events.REVISION_RELEASED, first["number"] + 1)  # as if it came late from Redis
        await asyncio.sleep(3 * live.FOLLOW_SECONDS)
        hints = []
        while not await socket.receive_nothing(timeout=0.05):
            hints.append(json.loads(await socket.receive_from()))
    counted = Counter((hint["event"], hint.get("number")) for hint in hints)
    assert counted[("revision", first["number"] + 1)] == 1
    assert all(times == 1 for (event, _), times in counted.items() if event in events.GROWING), counted


async def test_the_status_of_the_follower_shows_an_outage_and_its_end(publish, monkeypatch):
    await database_sync_to_async(publish)("enhance", "Text")

    failed = []

    def unreadable():
        failed.append(1)
        raise OperationalError("connection refused\nmore lines")

    began = time.monotonic()
    task = asyncio.create_task(live.follow(0.02))
    try:
        await until(lambda: (live.following.polled_at or 0) > began)
        assert not live.following.is_failing
        with monkeypatch.context() as outage:
            outage.setattr(polling, "look", unreadable)
            await until(lambda: live.following.is_failing)
            assert live.following.failure == "OperationalError"
            polled_at = live.following.polled_at
            await until(lambda: len(failed) > 2)
            assert live.following.polled_at == polled_at
        await until(lambda: not live.following.is_failing)
        assert live.following.polled_at > polled_at
    finally:
        task.cancel()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b" \n", "blank"),
        (b"a\x00b", "NUL"),
        (b"caf\xe9", "not UTF-8: byte 4"),
        (b"x" * 65537, "64 KiB"),
        (None, "cannot be read"),
    ],
)
def test_the_command_refuses_an_invalid_file_with_one_sentence(publish, tmp_path, data, sentence):
    publish("enhance", "Before")
    file = tmp_path / "new.txt"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(CommandError) as refused:
        call_command("publish", "enhance", "--file", str(file))
    assert sentence in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert live.load().template_for(PromptOperation.ENHANCE).body == "Before"


def test_an_argument_that_is_not_utf_8_is_refused_with_one_sentence(publish, tmp_path):
    publish("enhance", "Before")
    file = tmp_path / "new.txt"
    file.write_text("After")
    done = manage("publish", "enhance", "--file", str(file), "--note", os.fsdecode(b"caf\xe9"))
    assert done.returncode == 1
    assert done.stderr == "The argument 'caf?' is not UTF-8. Write it in UTF-8.\n"
    assert live.load().template_for(PromptOperation.ENHANCE).body == "Before"


def test_the_command_lists_the_templates(publish):
    publish("enhance", "Before")
    done = manage("publish", "enhence", "--file", "/dev/null")
    assert done.returncode == 1
    assert "Templates: enhance." in done.stderr
    assert "Traceback" not in done.stderr
    done = manage("publish", "enhance", "--file", __file__, "--expect", "7")
    assert "v1 is live, not v7" in done.stderr


def test_export_writes_the_default_under_its_operation_and_others_beside_it(publish, tmp_path, actor):
    publish("polish", "Polish é 狐", operation="enhance")
    publish("enhance", "Another text", operation="enhance")
    publish("rewrite", "Offer\ntwo lines")
    folder = tmp_path / "out"
    done = manage("export_prompts", str(folder))
    assert done.returncode == 0, done.stderr
    texts = {
        "enhance.txt": "Polish é 狐\n",
        "rewrite.txt": "Offer\ntwo lines\n",
        "templates/enhance.txt": "Another text\n",
    }
    written = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    manifest = json.loads(written.pop("manifest.json"))
    assert written == texts
    assert manifest["revision"] == live.load().revision
    assert {name: facts["sha256"] for name, facts in manifest["files"].items()} == {
        name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()
    }
    assert manifest["files"]["enhance.txt"]["template"] == "polish"
    assert AuditEntry.objects.first().action == "prompts.exported"
    make_default(Template.objects.get(name="enhance"), by=actor)
    manage("export_prompts", str(folder))
    assert (folder / "enhance.txt").read_text() == "Another text\n"


def test_the_manifest_is_renamed_last(publish, tmp_path, monkeypatch, actor):
    publish("enhance", "New")
    publish("noir", "Dark", operation="enhance")
    renamed = []
    monkeypatch.setattr(os, "replace", lambda source, target: renamed.append(Path(target).name))
    export_prompts(tmp_path, by=actor)
    assert renamed == ["enhance.txt", "noir.txt", "manifest.json"]


def test_a_failed_export_changes_nothing(publish, tmp_path, monkeypatch, actor):
    publish("enhance", "New")
    publish("rewrite", "New")
    (tmp_path / "enhance.txt").write_text("old")
    synced = []

    def full_disk(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        export_prompts(tmp_path, by=actor)
    assert [path.name for path in tmp_path.iterdir()] == ["enhance.txt"]
    assert (tmp_path / "enhance.txt").read_text() == "old"


def test_shipped_prompts_are_imported_once_and_an_invalid_file_is_reported(actor, tmp_path):
    from promptops.prompts.actions.prompts import import_prompts

    for name in ("enhance", "rewrite"):
        (tmp_path / f"{name}.txt").write_bytes(Path(settings.PROMPTS_DIR, f"{name}.txt").read_bytes())
    (tmp_path / "auto_extend.txt").write_text("  \n")
    problems = import_prompts(tmp_path, by=actor)
    assert len(problems) == 1
    assert problems[0].startswith("auto_extend.txt was not imported: The prompt is blank.")
    assert set(Template.objects.filter(is_default=True).values_list("name", flat=True)) == {"enhance", "rewrite"}
    assert import_prompts(settings.PROMPTS_DIR, by=actor) == []
    assert Draft.objects.count() == 0


def test_shipped_prompts_are_all_usable(actor):
    from promptops.prompts.actions.prompts import import_prompts

    assert import_prompts(settings.PROMPTS_DIR, by=actor) == []
    assert len(live.load().templates) == 3
