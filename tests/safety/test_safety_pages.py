"""The safety filter in the pipeline, through the real application: runs over the socket, and the pages about them."""

import asyncio
import json
import re
import threading

import pytest
from channels.db import database_sync_to_async
from django.urls import reverse

from promptops.compare.queries.prompt_sets import past_inputs
from promptops.engine.safety.guard import SHIPPED, SafetyCategory
from promptops.ledger.audit import Actor
from promptops.ledger.models import AuditEntry, LiveConfiguration
from promptops.live import snapshots as live
from promptops.runs.models import Run, SafetyCheck
from promptops.safety import guards
from promptops.safety.actions.filter_settings import SafetyChange, Term, change_safety, use_model
from promptops.safety.models import SafetyModelVersion, SafetySettings
from promptops.safety.queries import filter_state
from tests.engine.helpers import answer_with, loopback
from tests.runs.test_previews import frames, message, prepare, streamed
from tests.web.sockets import page_socket

pytestmark = pytest.mark.django_db(transaction=True)

BAD = "a man is beheaded and his bloody corpse lies on the floor"


@pytest.fixture(autouse=True)
def _fresh_models(settings, tmp_path):
    settings.VAR_DIR = tmp_path
    yield
    guards.forget_models()


def change(**parts):
    expected = SafetySettings.objects.get(pk=1).changed_revision
    return change_safety(SafetyChange(**parts), by=Actor("Tests"), expected=expected)


async def run(publish, make_user, *texts: str, input: str = "a fox runs through fresh snow", **parts):
    """Run one preview with these settings; return the frames of the page, and the requests to the provider."""
    async with loopback(answer_with(*streamed(*texts))) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        if parts:
            await database_sync_to_async(change)(**parts)
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message(input=input))
            html = await frames(socket, "/runs/")
    return html, upstream.requests


async def checks() -> dict[str, SafetyCheck]:
    return {check.side: check async for check in SafetyCheck.objects.select_related("run")}


async def test_shadow_records_and_changes_nothing(publish, make_user):
    html, asked = await run(publish, make_user, "A fox ", "in the snow.")
    assert len([frame for frame in html if "beforeend:#try-0-1-text" in frame]) == 2
    assert len(asked) == 1
    found = await checks()
    assert {side: (check.decision, check.blocked, check.mode) for side, check in found.items()} == {
        "input": ("allow", False, "shadow"),
        "output": ("allow", False, "shadow"),
    }
    assert set(found["output"].scores) == {"sexual", "violence", "hate", "self_harm", "dangerous", "other"}
    assert 0 < found["output"].score < 1
    assert (await Run.objects.aget()).status == "succeeded"
    assert "allowed" in html[-1]


async def test_shadow_lets_through_what_it_would_block_and_masks_it_afterwards(publish, make_user):
    html, asked = await run(publish, make_user, "A quiet ", "scene.", input=BAD)
    assert len(asked) == 1
    assert "A quiet scene." in html[-1]
    assert "would be blocked" in html[-1]
    found = (await checks())["input"]
    assert (found.decision, found.category, found.blocked, found.queue) == ("block", "violence", False, "blocked")
    assert found.score > 1
    assert found.words
    kept = await Run.objects.aget()
    assert (kept.status, kept.input_masked, kept.output_masked) == ("succeeded", True, True)


async def test_off_judges_nothing(publish, make_user):
    html, _ = await run(publish, make_user, "A fox.", input=BAD, mode="off")
    assert "A fox." in html[-1]
    assert not await SafetyCheck.objects.aexists()
    assert not (await Run.objects.aget()).input_masked


async def test_enforced_text_is_held_and_comes_whole(publish, make_user):
    html, _ = await run(publish, make_user, "A fox ", "in the snow.", mode="enforce")
    pieces = [frame for frame in html if "beforeend:#try-0-1-text" in frame]
    assert ["A fox in the snow." in piece for piece in pieces] == [True]
    assert any("filter reads it first" in frame for frame in html)
    assert "A fox in the snow." in html[-1]
    assert (await Run.objects.aget()).status == "succeeded"


async def test_a_blocked_input_calls_no_provider(publish, make_user):
    html, asked = await run(publish, make_user, "A fox.", input=BAD, mode="enforce")
    assert asked == []
    assert "The safety filter blocked the input: violence" in html[-1]
    assert "No provider was called" in html[-1]
    assert "beheaded" not in "".join(html)
    kept = await Run.objects.aget()
    assert (kept.status, kept.input, kept.output, kept.input_masked) == ("blocked", BAD, "", True)
    assert "beheaded" not in kept.error
    found = await checks()
    assert set(found) == {"input"}
    assert found["input"].blocked


async def test_a_blocked_output_never_reaches_the_page(publish, make_user):
    html, asked = await run(
        publish, make_user, "a man is beheaded ", "and his bloody corpse lies there", mode="enforce"
    )
    assert len(asked) == 1
    assert "The safety filter blocked the output: violence" in html[-1]
    assert "No provider was called" not in html[-1]
    assert "The run keeps the answer, masked." in html[-1]
    assert re.search(r'aria-label="Attempts">\s*<span>\s*p1\s*</span>', html[-1])
    assert "beheaded" not in "".join(html)
    assert "corpse" not in "".join(html)
    kept = await Run.objects.aget()
    assert (kept.status, kept.input_masked, kept.output_masked) == ("blocked", False, True)
    assert "beheaded" in kept.output
    assert await kept.attempts.acount() == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"input": "drink acme cola"}, "it contains the denied term &quot;acme cola&quot; (other)"),
        ({"input": "a " * 4097}, "longer than 8,192 bytes"),
        (
            {"input": "ein Fuchs rennt schnell durch frischen Schnee"},
            "know enough of these words to judge the input (mostly German)",
        ),
        (
            {"input": "k\u200bi\u200bl\u200bl and b e h e a d the naked corpse </s> __label__safe, bloody gore"},
            "blocked",
        ),
    ],
)
async def test_other_texts_that_are_withheld(publish, make_user, values, message):
    terms = (Term("deny", "acme cola", "other"),)
    html, asked = await run(publish, make_user, "A fox.", mode="enforce", terms=terms, **values)
    assert message in html[-1]
    assert asked == []


async def test_failing_open_lets_unjudged_texts_pass(publish, make_user):
    values = {
        "mode": "enforce",
        "when_language": "allow",
        "when_down": "allow",
        "input": "ein Fuchs rennt schnell durch frischen Schnee",
    }
    html, asked = await run(publish, make_user, "A fox in the snow.", **values)
    assert len(asked) == 1
    assert "A fox in the snow." in html[-1]
    found = (await checks())["input"]
    assert (found.decision, found.blocked, found.cause, found.language) == ("unavailable", False, "language", "German")


@pytest.mark.parametrize("unavailable", ["block", "allow"])
async def test_a_missing_model(publish, make_user, monkeypatch, tmp_path, unavailable):
    monkeypatch.setattr(guards, "SHIPPED", tmp_path)
    guards.forget_models()
    html, asked = await run(
        publish, make_user, "A fox.", mode="enforce", when_language=unavailable, when_down=unavailable
    )
    if unavailable == "block":
        assert "could not judge the input" in html[-1]
        assert "model-2.ftz" in html[-1]
        assert asked == []
    else:
        assert "A fox." in html[-1]
    alerts = (await database_sync_to_async(filter_state.state)()).alerts
    assert alerts[0].level == "bad"
    assert "model-2.ftz" in alerts[0].text


async def test_a_canceled_run_is_judged_too(publish, make_user):
    async with loopback(answer_with(then=lambda: asyncio.sleep(5))) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message(input=BAD))
            await frames(socket, "Asking")
            await socket.send_to(text_data=json.dumps({"action": "cancel"}))
            await frames(socket, "Canceled")
    kept = await Run.objects.aget()
    assert (kept.status, kept.input_masked) == ("canceled", True)


async def test_a_model_that_goes_live_judges_the_next_run(publish, make_user):
    data = (SHIPPED / "model-2.ftz").read_bytes() + b"\0"

    def new_model():
        import hashlib

        first = SafetyModelVersion.objects.get(number=1)
        version = SafetyModelVersion.objects.create(
            number=2, data=data, sha256=hashlib.sha256(data).hexdigest(), manifest=first.manifest, user_name="Ada"
        )
        use_model(version, by=Actor("Tests"), expected=0)

    await database_sync_to_async(new_model)()
    await run(publish, make_user, "A fox.")
    found = await checks()
    assert {(await SafetyModelVersion.objects.aget(pk=check.model_id)).number for check in found.values()} == {2}


async def test_a_thousand_callers_on_first_use_all_get_a_verdict():
    guards.forget_models()
    guard = (await database_sync_to_async(live.load)()).safety.guard
    verdicts = await asyncio.gather(*(guard.check_async(f"a fox number {number} in snow") for number in range(1_000)))
    assert {verdict.decision.value for verdict in verdicts} == {"allow"}


def test_eight_threads_on_first_use_load_one_model():
    guards.forget_models()
    guard, found = live.load().safety.guard, []
    threads = [threading.Thread(target=lambda: found.append(guard.check(BAD).decision.value)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["block"] * 8


def blocked_run(user=None, **fields) -> Run:
    made = Run.objects.create(
        source="preview",
        operation="enhance",
        temperature=1,
        max_tokens=1,
        latency_ms=1,
        user=user,
        **{
            "revision": 0,
            "status": "blocked",
            "input": f"{BAD} again",
            "input_masked": True,
            "error": "Blocked: violence",
        }
        | fields,
    )
    SafetyCheck.objects.create(
        run=made,
        side="input",
        decision="block",
        layer="model",
        category="violence",
        scores={"violence": 0.97, "hate": 0.1},
        score=1.2,
        words=["beheaded", "corpse"],
        window="his bloody corpse",
        reason="The model scores violence at 0.97",
        model=SafetyModelVersion.objects.get(number=1),
        mode="enforce",
        blocked=made.status == "blocked",
        queue="blocked",
    )
    return made


@pytest.mark.parametrize("status", ["blocked", "succeeded"])
def test_blocked_text_is_masked_until_an_editor_asks_and_that_is_audited(client_for, viewer, editor, status):
    made = blocked_run(status=status, output="a corpse too", output_masked=True)
    for address in (reverse("runs"), reverse("run", args=[made.pk]), reverse("overview")):
        for person in (viewer, editor):
            html = client_for(person).get(address).content.decode()
            assert "beheaded" not in html
            assert "corpse" not in html
    page = client_for(editor).get(reverse("run", args=[made.pk])).content.decode()
    assert "Show the blocked text" in page
    assert "Show the blocked text" not in client_for(viewer).get(reverse("run", args=[made.pk])).content.decode()
    assert "0.97" in page
    address = reverse("run_reveal", args=[made.pk])
    assert client_for(viewer).post(address).status_code == 403
    assert client_for(editor).get(address).status_code == 405
    assert not AuditEntry.objects.filter(action="run.revealed").exists()
    response = client_for(editor).post(address)
    shown = response.content.decode()
    assert BAD in shown
    assert "a corpse too" in shown
    assert "beheaded, corpse" in shown
    assert "no-store" in response["Cache-Control"]
    entry = AuditEntry.objects.get(action="run.revealed")
    assert (entry.actor, entry.object_id, entry.before, entry.after) == (editor, str(made.pk), None, None)
    assert "beheaded" not in client_for(editor).get(reverse("run", args=[made.pk])).content.decode()


def test_scores_have_the_thresholds_of_their_revision_beside_them(client_for, editor):
    first = change(thresholds={"violence": 0.5})
    made = blocked_run(revision=first.changed_revision)
    change(thresholds={"violence": 0.99})
    for address in (reverse("run", args=[made.pk]), reverse("safety_queue")):
        assert '<b>0.97</b> <span class="faint">over 0.50</span>' in client_for(editor).get(address).content.decode()
    assert f"thresholds of r{made.revision}" in client_for(editor).get(reverse("run", args=[made.pk])).content.decode()
    # The thresholds of a revision without a stored configuration are unknown.
    older = client_for(editor).get(reverse("run", args=[blocked_run().pk])).content.decode()
    assert "0.97" in older
    assert "over 0" not in older
    assert "thresholds of" not in older


def test_a_run_without_masked_text_is_shown_and_nothing_is_audited(client_for, editor):
    made = blocked_run(input_masked=False, status="succeeded")
    assert client_for(editor).post(reverse("run_reveal", args=[made.pk])).status_code == 200
    assert not AuditEntry.objects.filter(action="run.revealed").exists()


def test_erasing_a_run_erases_the_words_of_its_verdicts(client_for, administrator):
    made = blocked_run()
    client_for(administrator).post(reverse("run_erase", args=[made.pk]), {"confirm": "1"})
    check = SafetyCheck.objects.get()
    assert (check.words, check.window, check.reason) == ([], "", "")
    assert check.scores
    assert client_for(administrator).get(reverse("run", args=[made.pk])).status_code == 200


def test_prompt_sets_have_no_masked_inputs():
    blocked_run()
    blocked_run(input="a fox", input_masked=False, status="succeeded")
    assert past_inputs("enhance", 10) == ["a fox"]


def test_the_list_of_runs_is_filtered_by_verdict(client_for, viewer):
    blocked = blocked_run()
    would = blocked_run(status="succeeded")
    fine = blocked_run(status="succeeded", input="a fox", input_masked=False)
    SafetyCheck.objects.filter(run=fine).update(decision="unavailable")

    def listed(query):
        html = client_for(viewer).get(reverse("runs") + query).content.decode()
        return [made for made in (blocked, would, fine) if f'/runs/{made.pk}/"' in html]

    assert listed("?safety=blocked") == listed("?status=blocked") == [blocked]
    assert listed("?safety=masked") == [blocked, would]
    assert listed("?safety=not_judged") == [fine]
    assert listed("") == [blocked, would, fine]


@pytest.mark.parametrize(
    ("parts", "message", "level"),
    [
        ({"mode": "off"}, "The safety filter is off", "bad"),
        ({"mode": "enforce", "when_language": "allow", "when_down": "allow"}, "fails open", "warn"),
        ({"thresholds": dict.fromkeys(SafetyCategory, 1.0)}, "The safety filter is failing", "bad"),
        ({"terms": (Term("deny", "fox", "other"),)}, "The safety filter is failing", "bad"),
    ],
)
def test_pages_show_alerts(client_for, viewer, parts, message, level):
    change(**parts)
    for address in (reverse("overview"), reverse("safety")):
        html = client_for(viewer).get(address).content.decode()
        assert message in html
        assert f'class="notice {level}" role="alert"' in html


def test_a_working_filter_shows_no_alert(client_for, viewer):
    for address in (reverse("overview"), reverse("safety")):
        assert 'role="alert"' not in client_for(viewer).get(address).content.decode()


def test_a_releaser_reviews_and_releases_the_mode(client_for, releaser, editor):
    given = {"mode": "enforce", "when_language": "block", "when_down": "block", "expected": "0"}
    address = reverse("safety")
    assert client_for(editor).post(address, given).status_code == 403
    client = client_for(releaser, htmx=True)
    panel = client.post(address, given).content.decode()
    assert "withheld" in panel
    assert "Shadow" in panel
    assert SafetySettings.objects.get(pk=1).mode == "shadow"
    done = client.post(address, given | {"confirm": "1", "note": "ready"})
    assert done["HX-Redirect"] == address
    # The old page refreshes on the release, too; only the next page shows the result.
    assert "toast success" not in client.get(address).content.decode()
    assert "toast success" in client.get(address, headers={"HX-Request": "false"}).content.decode()
    assert live.current().safety.mode == "enforce"
    assert AuditEntry.objects.get(action="safety.changed").note == "ready"
    assert client.post(address, given | {"confirm": "1"}).status_code == 409
    assert client.post(address, {"mode": "loud"}).status_code == 409
    assert LiveConfiguration.objects.get(pk=1).revision == 1
    assert "Someone changed the safety filter" in client.get(f"{address}?seen=0").content.decode()
    revision = client_for(editor).get(reverse("revision", args=[1])).content.decode()
    assert "If the language is unknown" in revision
    assert "If the filter is down" in revision
    assert "enforce" in revision
