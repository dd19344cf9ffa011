"""The contract of an answer in runs: fallback, repair and breach, over the socket and against real loopback servers."""

import asyncio
import html
import json
import re
from collections.abc import Callable

import pytest
from channels.db import database_sync_to_async
from django.db import connection
from django.test.utils import CaptureQueriesContext

from promptops.engine.contracts import TextContract
from promptops.ledger.audit import SYSTEM
from promptops.live import snapshots as live
from promptops.prompts.actions import operations, samples
from promptops.prompts.actions.operations import OperationFields
from promptops.prompts.models import Operation
from promptops.runs.models import Run
from promptops.runs.previews import plan_test
from promptops.runs.queries.contracts import contract_figures
from tests.engine.helpers import Respond, completion, http_answer, loopback
from tests.factories import make_provider, make_run
from tests.runs.test_previews import frames, message, prepare
from tests.web.sockets import page_socket

pytestmark = pytest.mark.django_db(transaction=True)

SCHEMA = {
    "type": "object",
    "required": ["title", "scenes"],
    "properties": {
        "title": {"type": "string"},
        "scenes": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "string"}},
    },
}
PLAN = OperationFields("Plans.", answer={"kind": "json", "schema": SCHEMA})
GOOD = json.dumps({"title": "Fox & <b>snow</b>", "scenes": ["dawn", "dusk"]})
WRONG = json.dumps({"title": "Fox", "scenes": ["dawn"]})
PROBLEM = "broke the contract: scenes has 1 item, 2 expected"


def answers(*texts: str) -> Respond:
    """Return a responder with one answer after the other; the last one is repeated."""
    left = list(texts)

    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(http_answer(completion(left.pop(0) if len(left) > 1 else left[0])))
        await writer.drain()

    return respond


def page_of(client_for: Callable, run: Run) -> str:
    return " ".join(client_for(run.user).get(f"/runs/{run.pk}/").content.decode().split())


async def try_it(publish, make_user, fields: OperationFields, *servers: Respond) -> tuple[Run, str, list]:
    """Run an operation once over providers with these servers. Return the run, the page's frames and the requests."""

    def set_up() -> None:
        operations.add("plan", fields, by=SYSTEM)
        publish("plan", "Write a plan as JSON.", operation="plan")

    async with loopback(servers[0]) as first, loopback(servers[-1]) as second:
        editor = await prepare(publish, make_user, *(server.url for server in (first, second)[: len(servers)]))
        await database_sync_to_async(set_up)()
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message(template="plan", what="1"))
            shown = " ".join("".join(await frames(socket, "/runs/", 9)).split())
    run = await Run.objects.select_related("user").prefetch_related("attempts").aget()
    return run, shown, [*first.requests, *second.requests]


async def test_a_breach_falls_back_and_both_pages_say_why(publish, make_user, client_for):
    run, shown, requests = await try_it(publish, make_user, PLAN, answers(WRONG), answers(GOOD))
    assert (run.status, run.contract, run.fallback_used, run.output) == ("succeeded", "fell_back", True, GOOD)
    calls = [(each.provider, each.outcome, each.error_kind, each.repair) for each in run.attempts.all()]
    assert calls == [("p1", "failed", "contract", False), ("p2", "succeeded", "", False)]
    assert requests[0].body["response_format"]["type"] == "json_object"
    page = await database_sync_to_async(page_of)(client_for, run)
    for text in (shown, page):
        assert f"p1 {PROBLEM}" in text
        assert "<b>snow</b>" not in text
        assert '<dt dir="auto">scenes</dt><dd><details open><summary>2 items</summary>' in text
        assert f'<span class="pre" dir="auto">{html.escape("Fox & <b>snow</b>")}</span>' in text
        assert html.escape(GOOD) in text
    assert "Answered after a fallback" in page


async def test_with_nobody_left_the_answer_is_repaired(publish, make_user, client_for):
    run, shown, requests = await try_it(publish, make_user, PLAN, answers(WRONG, GOOD))
    assert (run.status, run.contract, run.fallback_used) == ("succeeded", "repaired", False)
    assert [each.repair for each in run.attempts.all()] == [False, True]
    told = requests[1].body["messages"][-1]["content"]
    assert "scenes has 1 item, 2 expected" in told
    page = await database_sync_to_async(page_of)(client_for, run)
    for text in (shown, page):
        assert PROBLEM in text
        assert "repaired</span>" in text
        assert ">repair</span>" in text
        assert ">retry</span>" not in text


async def test_an_answer_that_stays_wrong_is_a_breach(publish, make_user, client_for):
    run, shown, _ = await try_it(publish, make_user, PLAN, answers(WRONG))
    assert (run.status, run.contract, run.output) == ("failed", "breached", "")
    assert PROBLEM in run.error
    assert PROBLEM in shown
    page = await database_sync_to_async(page_of)(client_for, run)
    assert "broke the contract</span>" in page
    assert "Breached" in page


@pytest.mark.parametrize(
    ("answer", "text", "contract"),
    [
        ({"kind": "text"}, "A fox runs.", None),
        ({"kind": "text", "max_words": 3}, "A fox runs.", "at_once"),
        ({"kind": "text", "max_words": 2}, "A fox runs.", "breached"),
        ({"kind": "lines", "count": 2}, "1. A fox\n2. A hare", "at_once"),
        ({"kind": "lines", "count": 3}, "1. A fox\n2. A hare", "breached"),
        ({"kind": "lines", "count": 3, "at_least": 2}, "1. A fox\n2. A hare", "at_once"),
        ({"kind": "lines", "count": 3, "at_least": 2}, "1. A fox", "breached"),
        ({"kind": "json", "schema": SCHEMA}, f"Sure:\n```json\n{GOOD}\n```", "at_once"),
    ],
)
async def test_every_kind_of_answer_is_checked(answer, text, contract, publish, make_user, client_for):
    run, _, _ = await try_it(publish, make_user, OperationFields("Does it.", answer=answer), answers(text))
    assert run.contract == contract
    page = await database_sync_to_async(page_of)(client_for, run)
    assert ("<dt>Contract</dt>" in page) is (contract is not None)


async def test_a_smoke_run_checks_the_contract(publish, make_user):
    def set_up() -> None:
        operations.add("plan", PLAN, by=SYSTEM)
        publish("plan", "Write a plan as JSON.", operation="plan")
        samples.pin("plan", "a fox", by=SYSTEM)

    async with loopback(answers(WRONG)) as server:
        editor = await prepare(publish, make_user, server.url)
        await database_sync_to_async(set_up)()
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message(action="smoke", template="plan"))
            shown = "".join(await frames(socket, "runs failed", 9))
    assert PROBLEM in shown
    assert "broke the contract</span>" in shown
    assert {run.contract async for run in Run.objects.all()} == {"breached"}


@pytest.mark.parametrize(("what", "outcome"), [("editor", "breached"), ("1", None), ("2", "breached")])
async def test_try_it_checks_the_rules_of_what_it_runs(what, outcome, publish, make_user):
    rules = "at most 2 words"
    async with loopback(answers("A fox runs.")) as server:
        editor = await prepare(publish, make_user, server.url)
        await database_sync_to_async(publish)("enhance", "Text.", answer_rules=rules)
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message(what=what, answer_rules=rules))
            shown = "".join(await frames(socket, "/runs/", 9))
    run = await Run.objects.aget()
    assert (run.contract, run.draft_answer_rules) == (outcome, rules if what == "editor" else None)
    assert ("has 3 words, at most 2 expected" in shown) is (outcome is not None)


async def test_a_version_whose_rules_no_longer_fit_is_not_run(publish, make_user):
    def set_up() -> None:
        publish("enhance", "Text.", answer_rules="at most 9 words")
        publish("enhance", "Text.")
        wanted = OperationFields("Polishes.", answer={"kind": "text", "max_words": 5})
        operations.change(Operation.objects.get(name="enhance"), wanted, by=SYSTEM, expected=0)

    async with loopback(answers("A fox runs.")) as server:
        editor = await prepare(publish, make_user, server.url)
        await database_sync_to_async(set_up)()
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message(what="2"))
            sentence = "The answer rules of v2 no longer fit enhance. The version allows 9 words"
            assert sentence in (await frames(socket, sentence))[-1]
    assert server.requests == []


async def test_a_smoke_run_checks_the_rules_of_each_text(publish, make_user):
    def set_up() -> None:
        publish("enhance", "Text.", answer_rules="must contain: hare")
        samples.pin("enhance", "a fox", by=SYSTEM)

    async with loopback(answers("A fox runs.")) as server:
        editor = await prepare(publish, make_user, server.url)
        await database_sync_to_async(set_up)()
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message(action="smoke", answer_rules="must contain: fox"))
            await frames(socket, "runs failed", 9)
    outcomes = {(run.version_id is None, run.contract) async for run in Run.objects.all()}
    assert outcomes == {(True, "at_once"), (False, "breached")}


def test_a_test_of_a_provider_shows_any_answer(publish, make_user, actor):
    row = Operation.objects.get(name="enhance")
    wanted = OperationFields(row.purpose, answer={"kind": "json", "schema": SCHEMA})
    operations.change(row, wanted, by=actor, expected=0)
    provider = make_provider()
    plan = plan_test(make_user("editor", "eddie", "Eddie"), {"provider": provider.pk}, live.current()).plan
    assert plan.spec.contract is not None
    assert plan.request().contract is None


def test_the_page_of_a_template_counts_how_its_runs_met_the_contract(publish, client_for, viewer, actor):
    operations.add("plan", PLAN, by=actor)
    plan = publish("plan", "Write a plan as JSON.", operation="plan")
    other = publish("other", "Write a plan as JSON.", operation="plan")
    client = client_for(viewer)
    assert "No run of this template was checked yet" in client.get("/prompts/plan/details/").content.decode()
    for contract, number in (("at_once", 5), ("fell_back", 0), ("repaired", 2), ("breached", 1), (None, 3)):
        for _ in range(number):
            make_run(operation="plan", template=plan.template, version=plan, contract=contract)
    make_run(operation="plan", template=plan.template, version=plan, contract="breached", drill="down in p1")
    make_run(operation="plan", template=other.template, version=other, contract="breached")
    with CaptureQueriesContext(connection) as captured:
        figures = contract_figures(plan.template)
    assert len(captured) == 3
    assert figures.total.checked == 8
    assert [(label, number) for label, number, _ in figures.total.outcomes] == [
        ("Answered at once", 5),
        ("Answered after a fallback", 0),
        ("Repaired", 2),
        ("Breached", 1),
    ]
    page = " ".join(client.get("/prompts/plan/details/").content.decode().split())
    assert re.search(r'data-label="Repaired">\s*2\s*<span class="faint">25%</span>\s*</td>', page)


def test_the_figures_of_a_template_are_split_by_version(publish, client_for, viewer, monkeypatch):
    monkeypatch.setattr("promptops.runs.queries.contracts.SHOWN_VERSIONS", 2)
    versions = [publish("enhance", f"Polish {number}.") for number in range(5)]
    counts = {0: ("breached", 3), 1: ("breached", 1), 2: ("at_once", 2), 4: ("repaired", 1)}
    for place, (contract, number) in counts.items():
        for _ in range(number):
            make_run(template=versions[0].template, version=versions[place], contract=contract)
    make_run(template=versions[0].template, contract="fell_back")
    with CaptureQueriesContext(connection) as captured:
        figures = contract_figures(versions[0].template)
    assert len(captured) == 3
    rows = [(row.label, row.checked, [number for _, number, _ in row.outcomes]) for row in figures.rows]
    assert rows == [
        ("v5", 1, [0, 0, 1, 0]),
        ("v3", 2, [2, 0, 0, 0]),
        ("Older versions", 4, [0, 0, 0, 4]),
        ("Drafts", 1, [0, 1, 0, 0]),
    ]
    assert [number for _, number, _ in figures.total.outcomes] == [2, 1, 1, 4]
    page = " ".join(client_for(viewer).get("/prompts/enhance/details/").content.decode().split())
    assert re.search(r'/prompts/enhance/v5/">v5</a>\s*<span class="chip ok">.{0,20}live', page)


def test_a_text_without_rules_is_not_checked(publish, client_for, viewer):
    assert live.load().operation("enhance").contract == TextContract()
    publish("enhance", "Polish.")
    assert "contract-figures" not in client_for(viewer).get("/prompts/enhance/details/").content.decode()


def test_the_list_of_runs_is_filtered_by_an_address(publish, client_for, viewer):
    version = publish("enhance", "Polish.")
    runs = {
        each: make_run(template=version.template, version=version, contract=each)
        for each in (None, "at_once", "fell_back", "repaired", "breached")
    }
    for outcome in ("at_once", "fell_back", "repaired", "breached"):
        page = client_for(viewer).get(f"/runs/?contract={outcome}").content.decode()
        assert re.findall(r'href="/runs/(\d+)/"', page) == [str(runs[outcome].pk)]
        assert f'<option value="{outcome}" selected>' in page
    page = client_for(viewer).get("/runs/?contract=nonsense").content.decode()
    assert all(f'href="/runs/{run.pk}/"' in page for run in runs.values())
