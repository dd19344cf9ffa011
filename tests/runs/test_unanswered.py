"""Runs that nobody answers, and inputs of named fields, over the socket and against real loopback providers."""

import json
from datetime import timedelta

import pytest
from channels.db import database_sync_to_async
from django.core.exceptions import ValidationError
from django.utils import timezone

from promptops.ledger.audit import SYSTEM
from promptops.ledger.models import LiveConfiguration
from promptops.prompts.actions import operations, samples
from promptops.prompts.actions.operations import OperationFields
from promptops.prompts.models import Operation
from promptops.runs.actions.erasing import erase_expired
from promptops.runs.models import Run
from promptops.runs.queries.figures import Tally, figures
from promptops.safety.actions import filter_settings
from promptops.safety.actions.filter_settings import SafetyChange, Term
from tests.engine.helpers import answer_with, http_answer, loopback
from tests.factories import arm_of, make_provider, make_run, start_comparison
from tests.runs.test_previews import frames, message, prepare, streamed
from tests.web.sockets import page_socket

pytestmark = pytest.mark.django_db(transaction=True)

BROKEN = answer_with(http_answer({"error": {"message": "down"}}, status=503))
DECLINED = answer_with(http_answer({"error": {"message": "no", "code": "content_policy_violation"}}, status=400))


@database_sync_to_async
def set_up(publish, name: str, fields: OperationFields) -> None:
    operations.add(name, fields, by=SYSTEM)
    publish(name, "Do it.", operation=name)


async def run(publish, make_user, fields: OperationFields, server, **sent) -> tuple[Run, str]:
    """Run the operation once against one provider, and return the run and the frames of the page."""
    async with loopback(server) as provider:
        editor = await prepare(publish, make_user, provider.url)
        await set_up(publish, "caption", fields)
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message(template="caption", **sent))
            html = " ".join("".join(await frames(socket, "/runs/", 9)).split())
    return await Run.objects.aget(), html


async def test_the_input_goes_on_unchanged_and_is_no_success(publish, make_user, client_for):
    got, html = await run(publish, make_user, OperationFields("Names.", on_failure="input"), BROKEN)
    assert (got.status, got.input, got.output, got.provider) == ("unchanged", "a fox", "", "")
    assert "No provider answered, so the input goes on unchanged." in html
    assert ">a fox</div>" in html
    assert got.answer_hash is None

    def pages() -> str:
        client = client_for(got.user)
        addresses = (f"/runs/{got.pk}/", "/runs/?status=unchanged", "/")
        return " ".join(" ".join(client.get(address).content.decode() for address in addresses).split())

    shown = await database_sync_to_async(pages)()
    assert "No provider answered, so the input went on unchanged." in shown
    assert "input unchanged</span>" in shown
    assert "input unchanged <b>1</b>" in shown
    total = (await database_sync_to_async(figures)(24)).operations[-1].total
    assert (total.runs, total.answered, total.failed, total.unchanged, total.errors.percent) == (1, 0, 0, 1, 100)


@pytest.mark.parametrize(("on_failure", "held"), [("error", False), ("hold", True)])
async def test_an_error_says_to_keep_what_runs_where_it_is_set(on_failure, held, publish, make_user):
    got, html = await run(publish, make_user, OperationFields("Names.", on_failure=on_failure), BROKEN)
    assert got.status == "failed"
    assert ("Nobody answered: keep what runs." in got.error) is held
    assert ("Nobody answered: keep what runs." in html) is held


async def test_a_text_that_a_provider_declined_does_not_go_on(publish, make_user):
    got, _ = await run(publish, make_user, OperationFields("Names.", on_failure="input"), DECLINED)
    assert got.status == "failed"


async def test_a_text_that_the_safety_filter_blocked_does_not_go_on(publish, make_user):
    def block() -> None:
        term = Term("deny", "a fox", "violence")
        filter_settings.change_safety(SafetyChange(mode="enforce", terms=(term,)), by=SYSTEM, expected=0)

    await database_sync_to_async(block)()
    got, _ = await run(publish, make_user, OperationFields("Names.", on_failure="input"), BROKEN)
    assert (got.status, got.output) == ("blocked", "")


SCENE = OperationFields(
    "Plans.",
    input="fields",
    fields=[
        {"name": "scene", "description": "What is seen", "required": True, "max_characters": 40},
        {"name": "mood", "description": "", "required": False, "max_characters": None},
    ],
    answer={"kind": "json", "schema": {"type": "object"}},
)


async def test_fields_reach_the_model_as_one_json_object(publish, make_user, client_for):
    async with loopback(answer_with(*streamed('{"shots": []}'))) as provider:
        editor = await prepare(publish, make_user, provider.url)
        await set_up(publish, "plan", SCENE)
        async with page_socket(editor) as socket:
            sent = {"template": "plan", "field-scene": 'snow\r\n"ж"', "field-mood": ""}
            await socket.send_to(text_data=message(**sent))
            await frames(socket, "/runs/")
        [request] = provider.requests
    got = await Run.objects.aget()
    assert json.loads(got.input) == {"scene": 'snow\n"ж"'}
    assert request.body["messages"][1] == {"role": "user", "content": got.input}
    assert got.output == '{"shots": []}'
    page = await database_sync_to_async(lambda: client_for(editor).get(f"/runs/{got.pk}/").content.decode())()
    assert "<dt>scene</dt>" in page


async def test_a_missing_field_is_refused_and_nothing_runs(publish, make_user):
    editor = await prepare(publish, make_user)
    await set_up(publish, "plan", SCENE)
    async with page_socket(editor) as socket:
        await socket.send_to(text_data=message(template="plan", **{"field-mood": "calm"}))
        await frames(socket, "The field scene is missing")
    assert not await Run.objects.aexists()


async def test_the_safety_filter_reads_the_values(publish, make_user):
    def block() -> None:
        term = Term("deny", 'the "red" fox', "violence")
        filter_settings.change_safety(SafetyChange(mode="enforce", terms=(term,)), by=SYSTEM, expected=0)

    await database_sync_to_async(block)()
    got, _ = await run(publish, make_user, SCENE, BROKEN, **{"field-scene": 'See the "red" fox.'})
    assert got.status == "blocked"


def test_the_fields_are_on_the_page_with_the_first_sample(publish, client_for, editor):
    operations.add("plan", SCENE, by=SYSTEM)
    publish("plan", "Plan it.", operation="plan")
    client = client_for(editor)
    page = client.get("/prompts/plan/").content.decode()
    assert 'name="field-scene"' in page
    assert 'maxlength="40"' in page
    assert "What is seen" in page
    pinned = client.post("/prompts/plan/samples/", {"field-scene": "snow", "field-mood": "calm", "input": ""})
    assert pinned.status_code == 200
    assert samples.Sample.objects.get().text == '{"scene": "snow", "mood": "calm"}'
    page = client.get("/prompts/plan/").content.decode()
    assert ">snow</textarea>" in page
    assert 'data-fill="#try-fields"' in page
    refused = client.post("/prompts/plan/samples/", {"field-scene": "", "input": ""})
    assert b"The field scene is missing" in refused.content


def test_a_comparison_of_fields_checks_each_input(publish, actor):
    operations.add("plan", SCENE, by=SYSTEM)
    arms = [
        arm_of(publish("plan", text, operation="plan"), make_provider(name))
        for name, text in zip("ab", "xy", strict=True)
    ]
    with pytest.raises(ValidationError, match=r"Input 2 cannot be used\. plan takes a JSON object"):
        start_comparison(arms, ['{"scene": "snow"}', "a fox"], by=actor)
    assert start_comparison(arms, ['{"scene": "snow"}'], by=actor).inputs.count() == 1


def test_an_operation_erases_its_texts_by_its_own_time(actor, client_for, viewer):
    caption = operations.add("caption", OperationFields("Names a clip."), by=actor)
    for operation in ("caption", "enhance"):
        for days in (1, 4, 40):
            make_run(operation=operation, at=timezone.now() - timedelta(days=days), input=f"{days} days")
    operations.change(
        caption, OperationFields("Names a clip.", retention_days=3), by=actor, expected=caption.changed_revision
    )
    assert erase_expired() == 3
    left = Run.objects.filter(erased_at=None).order_by("operation", "input").values_list("operation", "input")
    assert list(left) == [("caption", "1 days"), ("enhance", "1 days"), ("enhance", "4 days")]
    assert erase_expired() == 0
    page = " ".join(client_for(viewer).get("/runs/").content.decode().split())
    assert "erased after 30 days (caption: 3); figures stay" in page


def test_a_shorter_time_is_warned_of(actor, client_for, releaser):
    row = Operation.objects.get(name="enhance")
    form = {"purpose": row.purpose, "input": "text", "answer": "text", "on_failure": "error", "expected": "0"}
    client = client_for(releaser, htmx=True)
    for days, warned in (("3", True), ("300", False)):
        panel = client.post("/operations/enhance/", form | {"retention_days": days}).content.decode()
        assert ("cannot be undone" in panel) is warned
    assert LiveConfiguration.objects.get().run_retention_days == 30


@pytest.mark.parametrize(
    ("status", "counted"),
    [("succeeded", (1, 0, 0)), ("failed", (0, 1, 0)), ("unchanged", (0, 0, 1)), ("blocked", (0, 0, 0))],
)
def test_each_outcome_counts_once(status, counted):
    tally = Tally()
    tally.add(status, False, 100.0, None, False)
    assert (tally.answered, tally.failed, tally.unchanged) == counted
