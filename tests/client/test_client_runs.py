"""Runs on a server: requests, results, safety, pass-through, errors, sessions, curated prompts and reports."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from promptops.client import BlockedText, Clock, KeepRunning, LiveEnhancer, LiveResponse
from promptops.client.timing import utc_now
from promptops.client.wire import WireError
from promptops.engine import LLMProviderError, LLMRefusedError, LLMResponse, build_rewrite
from promptops.engine.operations import OPERATIONS, InputField, OperationSpec
from promptops.engine.safety.guard import DenyTerm, SafetyPolicy
from promptops.engine.snapshot import Lever, SafetySpec
from tests.client.rooms import MemoryWire, Network, Room, body_of, snapshot
from tests.client.virtual import virtually

URL = "http://127.0.0.1:9"
TERMS = SafetySpec("enforce", blocks_when_down=False, policy=SafetyPolicy(deny_terms=(DenyTerm("gore"),)))


class Model:
    """A provider that notes its requests. It answers with the input and its system prompt, or fails."""

    name = "mine"

    def __init__(self, failure: Exception | None = None, delay: float = 0.0, suffix: str = "") -> None:
        self.requests: list = []
        self.failure, self.delay, self.suffix = failure, delay, suffix

    async def complete(self, request):
        self.requests.append(request)
        await asyncio.sleep(self.delay)
        if self.failure:
            raise self.failure
        system, *_, user = request.messages
        text = f"{user.content} by {system.content.splitlines()[0]}{self.suffix}"
        return LLMResponse(text, self.name, "m", 1.0)


def offline(tmp_path, configuration=None, model=None, **further) -> LiveEnhancer:
    (tmp_path / "b.json").write_bytes(body_of(configuration or snapshot(7)))
    providers = [model or Model()]
    values = {"bootstrap": tmp_path / "b.json", "providers": providers, "offline": True} | further
    return LiveEnhancer(URL, "po_x", server="gpu-7", **values)


def with_operations(*specs: OperationSpec, **further):
    return snapshot(7, operations={**OPERATIONS, **{spec.name: spec for spec in specs}}, **further)


async def test_a_result_names_what_it_came_from(tmp_path):
    live = offline(tmp_path)
    response = await live.enhance("a fox")
    assert isinstance(response, LLMResponse)
    assert response.content == "a fox by enhance e1 r7"
    assert (response.revision, response.epoch, response.template, response.version) == (7, "e1", "enhance", 7)
    assert response.sha256 == live.state.sha256
    assert response.version_sha256 == live.snapshot.template_for("enhance").sha256
    assert not response.unchanged


async def test_each_built_in_operation_has_its_method(tmp_path):
    model = Model()
    live = offline(tmp_path, model=model)
    assert (await live.auto_extend(["one", "two"])).content == "one\ntwo by auto_extend e1 r7"
    response = await live.rewrite("a fox", count=2, temperature=0.1)
    assert response.alternatives == ["a fox by rewrite e1 r7"]
    assert model.requests[-1].temperature == 0.1
    assert "exactly 2 alternatives" in model.requests[-1].messages[0].content
    assert (await build_rewrite(live, "a fox")).alternatives == ["a fox by rewrite e1 r7"]


async def test_fields_and_lists_and_their_refusals(tmp_path):
    scene = OperationSpec("plan", "Plans.", input="fields", fields=(InputField("scene"),))
    configuration = with_operations(scene)
    first = configuration.templates[0]
    plan = replace(first, id=9, name="plan", operation="plan", body="plan it")
    configuration = replace(
        configuration,
        templates=(*configuration.templates, plan, replace(first, id=10, name="calm", body="calmly")),
        defaults={**configuration.defaults, "plan": 9},
    )
    live = offline(tmp_path, configuration)
    assert (await live.run("plan", fields={"scene": "snow"})).content == '{"scene": "snow"} by plan it'
    assert (await live.run("enhance", "a fox", template="calm")).content == "a fox by calmly"
    assert (await live.run("auto_extend", ["a", "b"])).content.startswith("a\nb")
    for refused in (
        live.run("enhance", "  "),
        live.run("enhance"),
        live.run("enhance", ["a"]),
        live.run("enhance", fields={"scene": "snow"}),
        live.run("enhance", "a", count=2),
        live.run("enhance", "a", template="plan"),
        live.run("enhance", "a", deadline_ms=0),
        live.run("enhance", "a", on_failure="never"),
        live.run("auto_extend", "a", on_failure="input"),
        live.run("plan", fields={"mood": "calm"}),
        live.run("unknown", "a"),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            await refused


@pytest.mark.parametrize(("mode", "text", "suffix"), [("enforce", "gore", ""), ("enforce", "a fox", " gore")])
async def test_a_harmful_text_is_withheld_on_either_side(tmp_path, mode, text, suffix):
    model = Model(suffix=suffix)
    live = offline(tmp_path, snapshot(7, safety=replace(TERMS, mode=mode)), model, on_change=None)
    with pytest.raises(BlockedText) as blocked:
        await live.run("enhance", text, on_failure="input")
    assert blocked.value.side == ("input" if text == "gore" else "output")
    assert bool(model.requests) is (text != "gore")
    assert not isinstance(blocked.value, LLMProviderError)


async def test_shadow_mode_judges_and_withholds_nothing(tmp_path):
    live = offline(tmp_path, snapshot(7, safety=replace(TERMS, mode="shadow")))
    response = await live.enhance("gore")
    assert [(check.side, check.verdict.decision.value) for check in response.checks] == [
        ("input", "block"),
        ("output", "block"),
    ]


async def test_a_lever_passes_the_input_through_with_safety_on_and_ends_by_itself(tmp_path):
    now = [utc_now()]
    lever = Lever("pass_through", "enhance", now[0] + timedelta(minutes=10), "Groq writes nonsense", "Rita")
    configuration = snapshot(7, safety=TERMS, levers=(lever,))
    model = Model()
    live = offline(tmp_path, configuration, model, clock=Clock(now=lambda: now[0]))
    response = await live.enhance("a fox")
    assert (response.content, response.unchanged, response.provider) == ("a fox", True, "")
    assert "Rita" in response.note
    assert "Groq writes nonsense" in response.note
    with pytest.raises(BlockedText):
        await live.enhance("gore")
    assert not model.requests
    assert (await live.auto_extend(["a"])).content.startswith("a by")
    now[0] += timedelta(minutes=10)
    assert not (await live.enhance("a fox")).unchanged


@pytest.mark.parametrize(
    ("on_failure", "failure", "expected"),
    [
        ("error", LLMProviderError("down"), LLMProviderError),
        ("hold", LLMProviderError("down"), KeepRunning),
        ("input", LLMProviderError("down"), None),
        ("input", LLMRefusedError("declined"), LLMRefusedError),
    ],
)
async def test_nobody_answers(tmp_path, on_failure, failure, expected):
    live = offline(tmp_path, model=Model(failure))
    if expected is None:
        response = await live.run("enhance", "a fox", on_failure=on_failure)
        assert (response.content, response.unchanged) == ("a fox", True)
        assert len(response.attempts) == 1
    else:
        with pytest.raises(expected) as raised:
            await live.run("enhance", "a fox", on_failure=on_failure)
        assert len(raised.value.attempts) == 1


async def test_without_a_provider_the_sentence_says_what_to_do(tmp_path):
    live = offline(tmp_path, snapshot(7, providers=()), providers=None)
    with pytest.raises(LLMProviderError, match="No provider is on"):
        await live.enhance("a fox")


async def test_the_deadline_holds_for_the_whole_run(tmp_path):
    live = offline(tmp_path, model=Model(delay=30))
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(LLMProviderError):
        await live.run("enhance", "a fox", deadline_ms=50)
    assert loop.time() - began < 5


# Curated prompts


async def test_curated_prompts_keep_their_order_and_name_the_first_blocked_one(tmp_path):
    live = offline(tmp_path, snapshot(7, safety=TERMS))
    curation = await live.curate(["a fox", "gore one", "a cat", "gore two"])
    assert [result.status for result in curation.results] == ["succeeded", "blocked", "succeeded", "blocked"]
    assert [result.prompt for result in curation.results] == ["a fox", "gore one", "a cat", "gore two"]
    assert curation.first_blocked is curation.results[1]
    assert curation.results[2].response.content.startswith("a cat by")
    for prompts in ([], ["a"] * 65, ["a", " "]):
        with pytest.raises(ValueError, match=r"\w"):
            await live.curate(prompts)


async def test_64_curated_prompts_run_at_once_under_one_deadline(tmp_path):
    live = offline(tmp_path, model=Model(delay=30))
    loop = asyncio.get_running_loop()
    began = loop.time()
    curation = await live.curate([f"fox {number}" for number in range(64)], deadline_ms=200)
    assert {result.status for result in curation.results} == {"failed"}
    assert loop.time() - began < 10


# Sessions


@virtually
async def test_a_session_keeps_its_texts_and_never_its_safety_chain_or_levers():
    room, network, model = Room(), Network(), Model()
    clock = asyncio.get_running_loop().clock()
    live = LiveEnhancer(
        URL, "po_x", server="gpu-7", wire=lambda: MemoryWire(room, network), providers=[model], clock=clock
    )
    async with live:
        sessions = {policy: live.session(policy, policy) for policy in ("session", "segment", "call")}
        room.release(safety=TERMS)
        await asyncio.sleep(1)
        revisions = {policy: (await each.enhance("a fox")).revision for policy, each in sessions.items()}
        assert revisions == {"session": 1, "segment": 1, "call": 2}
        for each in sessions.values():
            with pytest.raises(BlockedText):
                await each.enhance("gore")
            each.next_segment()
        revisions = {policy: (await each.enhance("a fox")).revision for policy, each in sessions.items()}
        assert revisions == {"session": 1, "segment": 2, "call": 2}
        assert (await sessions["session"].enhance("a fox")).content.endswith("e1 r1")
        assert live.session("session").revision == 1
        await asyncio.sleep(1801)
        assert live.session("session").revision == 2
        with pytest.raises(ValueError, match="policy"):
            live.session("x", "never")


# Reports


async def reported(room, model, *calls, **further) -> list[dict]:
    clock = asyncio.get_running_loop().clock()
    wire = MemoryWire(room, Network())
    values = {"wire": lambda: wire, "providers": [model], "clock": clock} | further
    async with LiveEnhancer(URL, "po_x", server="gpu-7", **values) as live:
        for call in calls:
            with suppress(LLMProviderError, BlockedText):
                await live.run(*call)
        await asyncio.sleep(6)
    return [run for batch in room.batches for run in batch["runs"]]


@virtually
async def test_runs_are_reported_without_texts():
    room = Room()
    [run] = await reported(room, Model(), ("enhance", "a secret fox"))
    assert {
        "operation": "enhance",
        "template": "enhance",
        "version": 1,
        "revision": 1,
        "epoch": "e1",
    }.items() <= run.items()
    assert (run["status"], run["provider"], run["model"], run["attempts"]) == ("succeeded", "mine", "m", 1)
    assert "secret" not in str(room.batches)
    assert room.batches[0]["server"] == "gpu-7"


@virtually
async def test_texts_are_reported_only_where_the_server_opts_in_and_never_a_withheld_answer():
    room = Room()
    room.put(snapshot(1, safety=TERMS))
    runs = await reported(room, Model(suffix=" gore"), ("enhance", "a fox"), report_texts=True)
    assert [(run["status"], run["input"], run["output"]) for run in runs] == [("blocked", "a fox", "")]


@virtually
async def test_a_batch_that_was_not_answered_is_sent_again_with_its_id():
    room, model = Room(), Model()
    clock, wire = asyncio.get_running_loop().clock(), MemoryWire(room, Network())
    room.report_error = WireError("HTTP 500.")
    live = LiveEnhancer(URL, "po_x", server="gpu-7", wire=lambda: wire, providers=[model], clock=clock)
    async with live:
        await live.enhance("a fox")
        await asyncio.sleep(6)
        pending = live._reports._batch["batch"]
        room.report_error = None
        await asyncio.sleep(6)
        assert [batch["batch"] for batch in room.batches] == [pending]
        room.report_error = WireError("HTTP 422.", is_final=True)
        await live.enhance("a fox")
        await asyncio.sleep(6)
        room.report_error = None
        await live.enhance("a fox")
        await asyncio.sleep(6)
    assert [batch["dropped"] for batch in room.batches] == [0, 1]


@virtually
async def test_reports_are_dropped_rather_than_waited_for_and_counted():
    room, model = Room(), Model()
    clock, wire = asyncio.get_running_loop().clock(), MemoryWire(room, Network())
    room.report_error = WireError("HTTP 500.")
    live = LiveEnhancer(URL, "po_x", server="gpu-7", wire=lambda: wire, providers=[model], clock=clock)
    async with live:
        for number in range(1_200):
            live._reports.add({"operation": "enhance", "number": number})
        room.report_error = None
        await asyncio.sleep(6)
    runs = [run["number"] for batch in room.batches for run in batch["runs"]]
    assert runs == list(range(200, 1_200))
    assert sum(batch["dropped"] for batch in room.batches) == 200


def test_a_response_compares_like_one_of_the_engine():
    one = LiveResponse("a", "p", "m", 1.0, revision=3)
    assert one == replace(one, note="x")
    assert one != replace(one, revision=4)
