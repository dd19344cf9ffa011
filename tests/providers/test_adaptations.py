"""Learned adaptations: stored for all processes, restored at start, forgotten on request or with their server."""

import asyncio
import logging
import threading

import pytest
from channels.db import database_sync_to_async
from django.db import transaction

from promptops.engine.providers.adaptations import learned
from promptops.ledger import audit
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.ledger.models import AuditEntry, LiveConfiguration
from promptops.live import snapshots as live
from promptops.providers.actions import adaptations, chain
from promptops.providers.actions.chain import ProviderFields
from promptops.providers.models import LearnedAdaptation, Provider

pytestmark = pytest.mark.django_db(transaction=True)

URL = "http://127.0.0.1:9/v1"
BY = Actor("Tests")


@pytest.fixture(autouse=True)
def _fresh_memory():
    def forget() -> None:
        learned.on_learned = None
        for model in ("m", "other"):
            for url in (URL, "http://127.0.0.1:8/v1"):
                learned.forget(url, model)

    forget()
    yield
    forget()


def add(name: str = "vllm", model: str = "m", base_url: str = URL) -> Provider:
    return chain.create_provider(ProviderFields(name, "openai", model, base_url), by=BY)


def stored() -> list[tuple[str, str, str]]:
    return list(LearnedAdaptation.objects.values_list("provider__name", "model", "name"))


def test_an_adaptation_is_stored_for_each_provider_that_calls_this_model_at_this_address():
    add()
    add("same", model="")
    add("another-model", model="other")
    add("elsewhere", base_url="http://127.0.0.1:8/v1")
    add("slash", base_url=f"{URL}/")
    before = LiveConfiguration.objects.get().revision
    for _ in range(2):
        adaptations.store(URL, "m", "no_temperature", "Unsupported\n parameter\x00")
    assert stored() == [
        ("vllm", "m", "no_temperature"),
        ("same", "m", "no_temperature"),
        ("slash", "m", "no_temperature"),
    ]
    assert LearnedAdaptation.objects.first().words == "Unsupported parameter"
    assert LiveConfiguration.objects.get().revision == before
    assert "adaptation" not in AuditEntry.objects.first().action


def test_a_restart_reads_it_from_the_database():
    add()
    adaptations.store(URL, "m", "no_temperature", "Unsupported")
    assert not learned.get(URL, "m")
    live.forget()
    live.current()
    assert learned.get(URL, "m") == {"no_temperature": "Unsupported"}


@pytest.mark.parametrize(
    ("fields", "is_kept"),
    [
        (ProviderFields("renamed", "openai", "m", URL, timeout_ms=900), True),
        (ProviderFields("vllm", "openai", "other", URL), False),
        (ProviderFields("vllm", "openai", "m", "http://127.0.0.1:8/v1"), False),
    ],
)
def test_a_new_address_or_model_forgets_adaptations(fields, is_kept):
    provider = add()
    adaptations.store(URL, "m", "no_temperature", "Unsupported")
    live.refresh()
    chain.edit_provider(provider, fields, by=BY, expected=provider.changed_revision)
    assert bool(stored()) == is_kept
    assert bool(learned.get(URL, "m")) == is_kept


def test_forgetting_reaches_the_engine_and_every_provider_of_the_address():
    provider, same = add(), add("same", model="")
    for name in ("no_temperature", "system_in_user"):
        learned.learn(URL, "m", name, "Unsupported")  # in this process, before it reads the table
        adaptations.store(URL, "m", name, "Unsupported")
    adaptations.forget(same, "no_temperature", by=BY)
    assert {name for _, _, name in stored()} == {"system_in_user"}
    assert set(learned.get(URL, "m")) == {"system_in_user"}
    entry = AuditEntry.objects.first()
    assert (entry.action, entry.object_name, entry.revision) == ("provider.adaptation_forgotten", "same", None)
    with pytest.raises(Refused, match="has no such adaptation"):
        adaptations.forget(provider, "no_temperature", by=BY)


def test_removing_a_provider_forgets_its_adaptations():
    provider = chain.set_enabled(add(), False, by=BY)
    adaptations.store(URL, "m", "no_temperature", "Unsupported")
    live.refresh()
    chain.remove_provider(provider, by=BY, expected=provider.changed_revision)
    assert stored() == []
    assert not learned.get(URL, "m")


async def until(holds) -> None:
    async with asyncio.timeout(5):
        while not await database_sync_to_async(holds)():  # noqa: ASYNC110 -- it waits for the database
            await asyncio.sleep(0.02)


async def test_a_run_that_learns_does_not_wait_and_the_table_has_it_soon():
    await database_sync_to_async(add)()
    adaptations.listen()
    learned.learn(URL, "m", "no_temperature", "Unsupported")
    await until(lambda: stored() == [("vllm", "m", "no_temperature")])


async def test_an_unavailable_database_fails_no_run(monkeypatch, caplog):
    def broken(*arguments: str) -> None:
        raise OSError("no database")

    monkeypatch.setattr(adaptations, "store", broken)
    adaptations.listen()
    with caplog.at_level(logging.ERROR):
        learned.learn(URL, "m", "no_temperature", "Unsupported")
        await asyncio.gather(*adaptations._writing)
    assert "could not be stored" in caplog.text


def test_learning_outside_an_event_loop_fails_no_run(caplog):
    adaptations.listen()
    learned.learn(URL, "m", "no_temperature", "Unsupported")
    assert "no event loop" in caplog.text


async def test_a_process_follows_adaptations_of_other_processes():
    """The test writes the rows in place of another process."""
    provider = await database_sync_to_async(add)()
    following = asyncio.create_task(live.follow(0.02))
    try:
        row = await LearnedAdaptation.objects.acreate(provider=provider, model="m", name="no_temperature", words="W")
        await until(lambda: learned.get(URL, "m") == {"no_temperature": "W"})
        await row.adelete()
        await until(lambda: not learned.get(URL, "m"))
    finally:
        following.cancel()


async def test_a_cooldown_that_was_ended_in_another_process_ends_here(monkeypatch):
    provider = await database_sync_to_async(add)()
    ended: list[str] = []
    monkeypatch.setattr(live.health, "end_cooldown", ended.append)
    monkeypatch.setattr(
        "promptops.providers.following._ended_here", set()
    )  # the numbers of entries begin anew with each test

    def end_elsewhere() -> None:
        with transaction.atomic():
            audit.record("provider.cooldown_ended", by=BY, object=provider)

    await database_sync_to_async(end_elsewhere)()  # before this process started
    following = asyncio.create_task(live.follow(0.02))
    try:
        await asyncio.sleep(0.3)
        assert ended == []
        await database_sync_to_async(end_elsewhere)()
        await until(lambda: ended == ["vllm"])
        await database_sync_to_async(chain.ask_again)(provider, by=BY)
        await asyncio.sleep(0.3)
        assert ended == ["vllm", "vllm"]  # the process does not follow its own entry
    finally:
        following.cancel()


async def test_it_is_stored_in_one_of_the_few_threads_that_have_a_connection(monkeypatch):
    threads = []
    monkeypatch.setattr(adaptations, "store", lambda *learning: threads.append(threading.current_thread().name))
    adaptations.listen()
    for name in ("no_temperature", "no_top_p"):
        learned.learn(URL, "m", name, "Unsupported")
    await asyncio.gather(*adaptations._writing)
    assert len(threads) == 2
    assert all(name.startswith("database") for name in threads)
