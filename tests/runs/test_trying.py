"""Several runs of "Try it" at once, what they are compared with, runs that run again, and answers that a page keeps."""

import asyncio
import json
import re

import pytest
from channels.db import database_sync_to_async
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from promptops.prompts.actions.templates import archive
from promptops.runs.models import Run
from promptops.runs.queries.answers import MOST
from promptops.runs.socket import running
from tests.engine.helpers import STREAM_HEAD, answer_with, delta, loopback, part
from tests.factories import get_or_make_template
from tests.runs.test_previews import frames, message, prepare, streamed
from tests.web.sockets import page_socket

pytestmark = pytest.mark.django_db(transaction=True)

FOX, WOLF = "A red fox runs.", "A gray wolf runs."


async def ask(publish, make_user, write, setup=lambda: None) -> list[str]:
    """Send the message `write(what setup returns)` to a page, and return the frames of the page."""
    async with loopback(answer_with(*streamed(FOX))) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        number = await database_sync_to_async(setup)()
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=write(number))
            return await frames(socket, "try-news")


def again(number: int) -> str:
    return json.dumps({"action": "again", "run": str(number), "place": "try-5"})


def cards(html: list[str]) -> dict[str, str]:
    """Return the last state of each card, by its id."""
    return {match[1]: frame for frame in html if (match := re.match(r'<article id="([\w-]+)"', frame))}


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html))


# ---------------------------------------------------------------- several at once


async def test_three_runs_of_one_input_are_three_cards_of_one_group(publish, make_user):
    html = await ask(publish, make_user, lambda _: message(runs="3", place="try-5"))
    assert html[0].startswith('<div id="try-5" class="answers several ')
    assert re.findall(r'<article id="([\w-]+)"', html[0]) == ["try-5-1", "try-5-2", "try-5-3"]
    assert set(cards(html)) == {"try-5-1", "try-5-2", "try-5-3"}
    same = [frame for frame in html if "Same words as the first answer" in frame]
    assert [re.match(r'<div id="([\w-]+)"', frame)[1] for frame in same] == ["try-5-2-body", "try-5-3-body"]
    assert text_of(html[-1]).count("Draft, ") == 3
    assert await Run.objects.filter(status="succeeded", input="a fox", draft_body="My text.").acount() == 3


async def test_the_live_version_runs_beside_the_text(publish, make_user):
    html = await ask(publish, make_user, lambda _: message(runs="live", place="try-5"))
    live, draft = cards(html)["try-5-1"], cards(html)["try-5-2"]
    assert "v1 live" in text_of(live)
    assert "Draft" in text_of(draft)
    assert {(run.version_id is None, run.draft_body) async for run in Run.objects.all()} == {
        (False, ""),
        (True, "My text."),
    }


async def test_canceling_ends_all_runs_of_a_group(publish, make_user):
    hang = answer_with(STREAM_HEAD, part(delta("A red ")), then=lambda: asyncio.sleep(30))
    async with loopback(hang) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message(runs="3"))
            await frames(socket, "A red")
            assert running[editor.pk] == 3
            await socket.send_to(text_data=json.dumps({"action": "cancel"}))
            for _ in range(3):
                await frames(socket, "Canceled")
    assert [run.status async for run in Run.objects.all()] == ["canceled"] * 3
    assert running[editor.pk] == 0


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"runs": "2"}, "once or three times"),
        ({"runs": "live", "what": "1"}, "v1 is the live version"),
        ({"place": "try-1-2"}, "out of date"),
        ({"runs": "live", "template": "draft-only"}, "No version of draft-only is live yet"),
        ({"action": "again", "run": "77"}, "does not exist"),
        ({"action": "again", "run": ["1"]}, "does not exist"),
    ],
)
async def test_what_cannot_run_is_refused_with_the_reason(publish, make_user, fields, sentence):
    editor = await prepare(publish, make_user)
    await database_sync_to_async(get_or_make_template)("draft-only", "enhance")
    async with page_socket(editor) as socket:
        await socket.send_to(text_data=message(**fields))
        assert sentence in (await frames(socket, "toast"))[-1]
    assert not await Run.objects.aexists()


# ---------------------------------------------------------------- compared with an earlier answer


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"output": WOLF}, ["red fox"]),
        ({"output": FOX}, []),
        ({"output": "Nothing alike", "input": "a fox"}, []),  # marks would only be in the way
        ({"output": WOLF, "input": "a hen"}, None),
        ({"output": WOLF, "operation": "rewrite"}, None),
        ({"output": WOLF, "output_masked": True}, None),
        ({"output": "", "erased_at": timezone.now()}, None),
        ({"output": WOLF, "status": "failed"}, None),
    ],
)
async def test_a_run_is_compared_with_an_earlier_answer_to_the_same_input(
    publish, make_user, make_run_of, fields, words
):
    html = await ask(
        publish, make_user, lambda number: message(against=f"999,{number}"), lambda: make_run_of(**fields).pk
    )
    card = cards(html)["try-0-1"]
    number = (await Run.objects.order_by("pk").afirst()).pk
    assert (f"run {number}" in text_of(card).replace(f"run {number + 1}", "")) is (words is not None)
    assert re.findall(r"<ins>([^<]+)</ins>", card.split('data-view-of="changes"')[0]) == (words or [])
    assert 'data-view="changes"' in card or words in (None, [])


@pytest.fixture
def make_run_of(db):
    def make(**fields) -> Run:
        defaults = {"source": "preview", "operation": "enhance", "input": "a fox", "temperature": 0.7}
        defaults |= {"max_tokens": 256, "revision": 1, "status": "succeeded", "latency_ms": 400.0}
        return Run.objects.create(**(defaults | fields))

    return make


# ---------------------------------------------------------------- a run that runs again


async def test_a_version_runs_again_and_is_compared(publish, make_user, make_run_of):
    def setup() -> int:
        version = publish("enhance", "The second text.", temperature=0.3)
        publish("enhance", "The third text.")
        return make_run_of(template=version.template, version=version, output=WOLF).pk

    html = await ask(publish, make_user, again, setup)
    card = cards(html)["try-5-1"]
    assert re.findall(r"<ins>([^<]+)</ins>", card)[0] == "red fox"
    run = await Run.objects.select_related("version", "user").alatest("pk")
    assert (run.version.number, run.input, run.output, run.temperature) == (2, "a fox", FOX, 0.3)
    assert (run.source, run.user.username) == ("preview", "eddie")


async def test_a_draft_runs_again_with_its_text_and_settings(publish, make_user, make_run_of):
    fields = {"draft_body": "A draft.", "draft_user_template": "Say {{ input }}", "temperature": 0.1, "max_tokens": 9}
    await ask(publish, make_user, again, lambda: make_run_of(**fields).pk)
    run = await Run.objects.alatest("pk")
    assert {name: getattr(run, name) for name in fields} == fields
    assert (run.output, run.seed) == (FOX, None)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"erased_at": timezone.now()}, "was erased, so it cannot run again"),
        ({"input_masked": True}, "is masked"),
        ({"operation": "unknown"}, "is archived"),
    ],
)
async def test_some_runs_cannot_run_again(publish, make_user, make_run_of, fields, sentence):
    editor = await prepare(publish, make_user)
    run = await database_sync_to_async(make_run_of)(**fields)
    async with page_socket(editor) as socket:
        await socket.send_to(text_data=json.dumps({"action": "again", "run": str(run.pk)}))
        assert sentence in (await frames(socket, "toast"))[-1]


@pytest.mark.parametrize(
    ("fields", "role", "expected"),
    [
        ({}, "editor", {"Open in the editor", "Run again"}),
        ({}, "viewer", set()),
        ({"template": None}, "editor", {"Run again"}),
        ({"source": "test"}, "editor", set()),
        ({"input_masked": True}, "editor", set()),
        ({"erased_at": timezone.now()}, "editor", set()),
    ],
)
def test_the_page_of_a_run_offers_what_works(publish, make_user, make_run_of, client_for, fields, role, expected):
    run = make_run_of(**{"template": publish("enhance", "Live.").template} | fields)
    page = text_of(client_for(make_user(role)).get(reverse("run", args=[run.pk])).content.decode())
    assert {name for name in ("Open in the editor", "Run again") if name in page} == expected


def test_an_archived_template_is_not_opened(publish, actor, make_user, make_run_of, client_for):
    publish("enhance", "The default.")
    template = publish("clip", "Live.", operation="enhance").template
    archive(template, by=actor)
    run = make_run_of(template=template)
    page = text_of(client_for(make_user("editor")).get(reverse("run", args=[run.pk])).content.decode())
    assert "Run again" in page
    assert "Open in the editor" not in page


# ---------------------------------------------------------------- the editor with the input of a run


@pytest.mark.parametrize(
    ("fields", "version", "sentence"),
    [
        ({}, 2, "It ran the same prompt as here."),
        ({}, 1, "It ran v1. The editor has another prompt."),
        ({"draft_body": "Live.", "draft_user_template": ""}, None, "It ran the same prompt as here."),
        ({"draft_body": "Live.", "draft_user_template": "x"}, None, "It ran a draft. The editor has another prompt."),
        ({"draft_body": "Other."}, None, "It ran a draft. The editor has another prompt."),
        ({"input_masked": True}, 2, None),
        ({"erased_at": timezone.now(), "input": ""}, 2, None),
    ],
)
def test_the_editor_opens_with_the_input_of_a_run(
    publish, make_user, make_run_of, client_for, fields, version, sentence
):
    versions = {1: publish("enhance", "Old."), 2: publish("enhance", "Live.")}
    run = make_run_of(template=versions[1].template, version=versions.get(version), **{"input": "a <b> fox"} | fields)
    html = client_for(make_user("editor")).get(reverse("template", args=["enhance"]), {"run": run.pk}).content.decode()
    assert ('data-value="a &lt;b&gt; fox"' in html) is (sentence is not None)
    assert (sentence or "Live.") in text_of(html)


@pytest.mark.parametrize("number", ["", "x", "999", "9" * 40, "other"])
def test_the_editor_ignores_runs_that_are_not_its_own(publish, make_user, make_run_of, client_for, number):
    publish("enhance", "Live.")
    other = make_run_of(template=publish("rewrite", "Other.").template)
    query = {"run": str(other.pk) if number == "other" else number}
    response = client_for(make_user("editor")).get(reverse("template", args=["enhance"]), query)
    assert response.status_code == 200
    assert "data-given" not in response.content.decode()


# ---------------------------------------------------------------- answers that a page kept


def test_kept_answers_come_in_their_order_and_show_what_pages_may_show(publish, make_run_of, client_for, viewer):
    version = publish("enhance", "Live.")
    shown = make_run_of(template=version.template, version=version, output=FOX, raw=f"Sure: {FOX}", contract="repaired")
    masked = make_run_of(input="SECRET", output="HARM", input_masked=True, output_masked=True)
    failed = make_run_of(input="SECRET", status="failed", error="SECRET", input_masked=True)
    erased = make_run_of(input="", output="", erased_at=timezone.now())
    numbers = [erased.pk, masked.pk, 999, failed.pk, shown.pk, shown.pk]
    html = client_for(viewer, htmx=True).get(reverse("run_answers"), {"run": [*numbers, "x"]}).content.decode()
    assert re.findall(r'<article id="try-\d+-r(\d+)"', html) == [str(run.pk) for run in (erased, masked, failed, shown)]
    assert "SECRET" not in html
    assert "HARM" not in html
    text = text_of(html)
    assert [
        words for words in ("run was erased", "masked", "v1", "live", FOX, "repaired", "Sure:") if words not in text
    ] == []


def test_kept_answers_are_bounded_and_need_the_same_queries(publish, make_run_of, client_for, viewer):
    version = publish("enhance", "Live.")
    runs = [make_run_of(template=version.template, version=version, output=FOX) for _ in range(MOST + 5)]
    client = client_for(viewer, htmx=True)
    client.get(reverse("run_answers"))
    counts = []
    for some in (runs[:1], runs):
        with CaptureQueriesContext(connection) as captured:
            html = client.get(reverse("run_answers"), {"run": [run.pk for run in some]}).content.decode()
        counts.append(len(captured))
    assert html.count("<article") == MOST
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("contract", "words"),
    [
        ("at_once", "contract kept"),
        ("fell_back", "contract kept after a fallback"),
        ("repaired", "repaired"),
        ("breached", "broke the contract"),
        (None, ""),
    ],
)
def test_a_card_says_how_the_contract_ended_and_why(contract, words, make_run_of, client_for, viewer):
    run = make_run_of(output=FOX, contract=contract)
    common = {"provider": "p1", "started_ms": 0, "latency_ms": 5, "input_tokens": 7, "output_tokens": 3}
    run.attempts.create(position=1, outcome="failed", error_kind="contract", message="It has 3 words.", **common)
    run.attempts.create(position=2, outcome="succeeded", repair=True, **common)
    text = text_of(client_for(viewer, htmx=True).get(reverse("run_answers"), {"run": run.pk}).content.decode())
    assert words in text
    assert ("First answer: It has 3 words." in text) is bool(contract)
    assert "14 in" in text
    assert "6 out" in text
    assert "2 attempts" in text
