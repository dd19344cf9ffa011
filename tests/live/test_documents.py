"""The live document of a process: made once for each snapshot, and waiting for the next one in memory."""

import asyncio
import gzip
import time
from datetime import UTC, datetime

import pytest

from promptops.engine.live_document import InvalidDocument, parse_document, read_live_document
from promptops.engine.snapshot import Lever
from promptops.ledger import parts
from promptops.live import documents
from promptops.live import snapshots as live
from promptops.live.waiting import Ended, Reason, TooManyWaiting, Waiting
from promptops.platform.draining import Gate
from promptops.prompts.actions import variables
from promptops.prompts.content import Content
from promptops.prompts.examples import read_examples
from promptops.prompts.models import Template
from promptops.runs.enums import RunSource
from promptops.runs.plans import RunPlan
from promptops.safety.guards import shipped_model
from tests.factories import make_provider, publish

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def making(monkeypatch):
    """Return a list that gets the revision of each document that is made."""
    revisions = []
    make = documents._make
    monkeypatch.setattr(documents, "_make", lambda snapshot: revisions.append(snapshot.revision) or make(snapshot))
    return revisions


def test_a_document_is_made_once_for_each_snapshot(making):
    first = documents.current()
    assert documents.current() is first
    assert len(making) == 1
    publish("enhance", "Enhance it.")
    assert len(making) == 2, "a release makes the document before its hint is sent"
    second = documents.current()
    assert (second.revision, second.epoch) == (first.revision + 1, first.epoch)
    assert second.sha256 != first.sha256
    assert len(making) == 2


def test_its_bytes_are_the_document_plain_and_packed():
    publish("enhance", "Enhance it in winter.")
    document = documents.current()
    assert gzip.decompress(document.gzip) == document.body
    values = parse_document(document.body)
    assert values == document.values
    assert values["sha256"] == document.sha256
    assert next(each for each in values["templates"] if each["name"] == "enhance")["text"] == "Enhance it in winter."
    snapshot = read_live_document(values)
    assert (snapshot.revision, snapshot.epoch) == (document.revision, document.epoch)


def test_it_holds_no_key_and_all_that_the_filter_needs():
    make_provider("first", key="sk-very-secret-4711")
    body = documents.current().body
    assert b"sk-very-secret-4711" not in body
    safety = parse_document(body)["safety"]
    sha256, values = shipped_model()
    assert (safety["model_sha256"], safety["model_labels"]) == (sha256, values["manifest"]["labels"])
    assert safety["policy"]["thresholds"] == values["manifest"]["thresholds"]


def test_a_run_of_a_follower_sends_what_promptops_sends(actor):
    variables.declare("enhance", "season", "winter {{ input }}", by=actor)
    publish(
        "enhance",
        r"For {{ season }}, \{{ kept }}.",
        temperature=0.4,
        top_p=0.9,
        reasoning_effort="low",
        user_template="{{ season }}: {{ input }}",
        examples="a fox\n=>\nA red fox",
    )
    snapshot, read = live.current(), read_live_document(documents.current().values)
    version = Template.objects.get(name="enhance").live_version
    content = Content(**version.content)
    plan = RunPlan("enhance", "a cat", content, snapshot.providers, snapshot, RunSource.PREVIEW)
    template = read.template_for("enhance")
    followers = Content(
        template.body,
        temperature=template.temperature,
        max_tokens=template.max_tokens,
        model=template.model or "",
        user_template=template.user_template,
        examples=content.examples,
        **template.parameters,
    )
    assert template.examples == read_examples(content.examples)
    assert RunPlan("enhance", "a cat", followers, (), read, RunSource.PREVIEW).request() == plan.request()


def test_a_document_that_servers_would_refuse_is_not_handed_out(monkeypatch, caplog):
    def refuse(values):
        raise InvalidDocument("templates[0].text is not valid.")

    monkeypatch.setattr(documents, "read_live_document", refuse)
    publish("enhance", "Enhance it more.")
    with pytest.raises(InvalidDocument):
        documents.current()
    assert "Servers cannot follow revision" in caplog.text


def test_a_part_can_fill_in_levers(monkeypatch):
    lever = Lever("freeze", "", datetime(2100, 1, 1, tzinfo=UTC), "the vendor is down", "Ada")
    part = parts.Part("levers", "lever", lambda config: {"levers": (lever,)}, lambda config: [])
    monkeypatch.setitem(parts._parts, part.name, part)
    read = read_live_document(documents.current().values)
    assert read.levers == (lever,)
    assert read.frozen(datetime.now(UTC)) == lever


# Waiting


async def in_thread(work, *arguments):
    """Call `work` in a thread that uses the database, as a release of a page does."""
    return await documents.in_background(work, *arguments)


async def waits(revision: int, seconds: float = 5.0, token: int = 1) -> asyncio.Task:
    """Start to wait for a revision after this one, and return the task that waits."""
    task = asyncio.create_task(
        documents.next_document(lambda document: document.revision > revision, seconds=seconds, token=token)
    )
    await asyncio.sleep(0.01)
    return task


async def test_a_release_wakes_those_who_wait():
    before = await documents.acurrent()
    tasks = [await waits(before.revision) for _ in range(20)]
    await in_thread(publish, "enhance", "Enhance it.")
    for document in await asyncio.gather(*tasks):
        assert document.revision == before.revision + 1
    assert len(documents.waiting) == 0


async def test_waiting_ends_after_its_time_with_the_same_document():
    before = await documents.acurrent()
    began = time.monotonic()
    assert await (await waits(before.revision, seconds=0.05)) is before
    assert time.monotonic() - began >= 0.04
    assert len(documents.waiting) == 0


async def test_a_swap_between_the_look_and_the_wait_is_not_missed():
    before = await documents.acurrent()
    looks = []

    def is_news(document):
        looks.append(document)
        if len(looks) == 2:  # the look inside the wait: a release of another thread comes right after it
            documents.waiting.wake()
        return len(looks) > 2

    async with asyncio.timeout(2):
        await documents.next_document(is_news, seconds=30, token=1)
    assert looks == [before] * 3


async def test_waiting_ends_when_the_process_stops_or_the_token_is_revoked():
    before = await documents.acurrent()
    mine, other = await waits(before.revision, token=1), await waits(before.revision, token=2)
    documents.waiting.revoke(1)
    with pytest.raises(Ended) as ended:
        await mine
    assert ended.value.reason is Reason.REVOKED
    assert not other.done()
    closing = Gate()
    closing.when_closed.append(documents.waiting.stop)
    await closing.drain(0)
    with pytest.raises(Ended) as ended:
        await other
    assert ended.value.reason is Reason.STOPPING


async def test_a_bounded_number_of_requests_waits():
    waiting = Waiting(most=2)
    with waiting.waiter(1), waiting.waiter(1), pytest.raises(TooManyWaiting), waiting.waiter(1):
        pass
    with waiting.waiter(1):
        assert len(waiting) == 1
    assert len(waiting) == 0


async def test_reading_needs_no_database(monkeypatch):
    before = await documents.acurrent()
    monkeypatch.setattr(live, "load", None)
    assert await documents.acurrent() is before
