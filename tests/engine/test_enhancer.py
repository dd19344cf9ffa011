"""`PromptEnhancer`: the three operations, the chain's order, system prompts from files."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass

import pytest

from promptops.engine import (
    BUILT_IN_PROMPTS,
    HealthRegistry,
    HedgePolicy,
    LLMMessage,
    LLMProvider,
    LLMProviderError,
    LLMRequest,
    LLMResponse,
    LLMServerError,
    LLMTimeoutError,
    PromptEnhancer,
    PromptOperation,
    build_request,
)
from tests.engine.helpers import FakeProvider, hang, limited, refuse


def sent(provider: FakeProvider, index: int = -1) -> tuple[str, str]:
    """Return the system and the user message of a request."""
    system, user = provider.requests[index].messages
    assert (system.role, user.role) == ("system", "user")
    return system.content, user.content


def test_the_signature_is_the_contracts():
    parameters = inspect.signature(PromptEnhancer).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == {
        "providers": inspect.Parameter.empty,
        "model": inspect.Parameter.empty,
        "timeout_ms": 20_000,
        "temperature": 0.7,
        "max_tokens": 256,
        "system_prompt_dir": None,
    }
    assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (LLMMessage("user", "hi"), {"role": "user", "content": "hi"}),
        (
            LLMRequest([], "m"),
            {"messages": [], "model": "m", "max_tokens": None, "temperature": None, "timeout_ms": None},
        ),
        (
            LLMResponse("c", "p", "m", 5),
            {"content": "c", "provider": "p", "model": "m", "latency_ms": 5, "fallback_used": False},
        ),
    ],
)
def test_the_data_types_are_the_contracts(made, expected):
    assert {name: vars(made)[name] for name in list(vars(made))[: len(expected)]} == expected


def test_the_operations():
    assert [(operation.name, operation.value) for operation in PromptOperation] == [
        ("ENHANCE", "enhance"),
        ("AUTO_EXTEND", "auto_extend"),
        ("REWRITE", "rewrite"),
    ]


def test_errors_are_the_contracts():
    assert issubclass(LLMProviderError, RuntimeError)
    assert LLMProviderError("x").retryable is True
    assert LLMProviderError("x", retryable=False).retryable is False
    assert issubclass(LLMTimeoutError, LLMProviderError)
    assert (LLMTimeoutError("x").retryable, str(LLMTimeoutError("slow"))) == (True, "slow")


def test_no_providers():
    with pytest.raises(ValueError, match="at least one provider"):
        PromptEnhancer(providers=[], model="m")


def test_a_provider_needs_no_base_class():
    class Mine:
        name = "mine"

        async def complete(self, request):
            return LLMResponse("x", "mine", "m", 1)

    class Nameless:
        async def complete(self, request): ...

    assert isinstance(Mine(), LLMProvider)
    assert not isinstance(Nameless(), LLMProvider)
    assert asyncio.run(PromptEnhancer(providers=[Mine()], model="m").enhance("x")).content == "x"


@pytest.mark.parametrize(
    ("priorities", "order"),
    [([], "ab"), ([-1], "ab0"), ([0], "0ab"), ([1], "a0b"), ([2], "ab0"), ([9], "ab0"), ([-7, 0], "1ab0")],
)
def test_register_provider(priorities, order):
    given = [FakeProvider("a"), FakeProvider("b")]
    enhancer = PromptEnhancer(providers=given, model="m")
    for number, priority in enumerate(priorities):
        enhancer.register_provider(FakeProvider(str(number)), priority=priority)
    assert "".join(provider.name for provider in enhancer.providers) == order
    assert len(given) == 2


def test_register_appends_by_default_and_the_list_is_fresh():
    enhancer = PromptEnhancer(providers=[FakeProvider("a")], model="m")
    enhancer.register_provider(FakeProvider("b"))
    enhancer.providers.clear()
    assert [provider.name for provider in enhancer.providers] == ["a", "b"]


async def test_what_each_operation_sends():
    provider = FakeProvider("a", "fine")
    enhancer = PromptEnhancer(providers=[provider], model="m")
    await enhancer.enhance("  a fox\n")
    assert sent(provider) == (BUILT_IN_PROMPTS[PromptOperation.ENHANCE], "  a fox\n")
    await enhancer.auto_extend(["a fox", "it runs"])
    assert sent(provider) == (BUILT_IN_PROMPTS[PromptOperation.AUTO_EXTEND], "a fox\nit runs")
    await enhancer.rewrite("a fox")
    assert sent(provider) == (BUILT_IN_PROMPTS[PromptOperation.REWRITE], "a fox")
    assert {(r.model, r.temperature, r.max_tokens) for r in provider.requests} == {("m", 0.7, 256)}


async def test_settings_reach_the_request():
    provider = FakeProvider("a")
    await PromptEnhancer(providers=[provider], model="big", timeout_ms=500, temperature=0, max_tokens=9).enhance("x")
    (request,) = provider.requests
    assert (request.model, request.temperature, request.max_tokens) == ("big", 0, 9)
    assert request.timeout_ms == pytest.approx(500, abs=5)


@pytest.mark.parametrize(
    ("count", "asked"),
    [(None, ""), (5, "Write exactly 5 alternatives"), (1, "Write exactly 1 alternative,"), (0, "Write exactly 1 ")],
)
async def test_rewrite_asks_for_a_count_in_the_system_message(count, asked):
    provider = FakeProvider("a")
    await PromptEnhancer(providers=[provider], model="m").rewrite("a fox", count=count, temperature=0.1)
    system, user = sent(provider)
    assert system.startswith(BUILT_IN_PROMPTS[PromptOperation.REWRITE])
    assert asked in system
    assert ("Write exactly" in system) is bool(asked)
    assert (user, provider.requests[0].temperature) == ("a fox", 0.1)


async def test_rewrite_can_be_cold():
    provider = FakeProvider("a")
    await PromptEnhancer(providers=[provider], model="m").rewrite("a fox", temperature=0.0)
    assert provider.requests[0].temperature == 0.0


@pytest.mark.parametrize("blank", ["", " ", "\n\t "])
async def test_blank_input(blank):
    provider = FakeProvider("a")
    enhancer = PromptEnhancer(providers=[provider], model="m")
    for call in (enhancer.enhance(blank), enhancer.rewrite(blank), enhancer.auto_extend([blank, blank])):
        with pytest.raises(ValueError, match="empty"):
            await call
    with pytest.raises(ValueError, match="empty"):
        await enhancer.auto_extend([])
    assert provider.requests == []


async def test_falls_back_and_says_so():
    enhancer = PromptEnhancer(providers=[FakeProvider("a", refuse()), FakeProvider("b")], model="m")
    response = await enhancer.enhance("x")
    assert (response.provider, response.fallback_used, len(response.attempts)) == ("b", True, 2)


async def test_the_deadline_is_for_the_whole_run():
    enhancer = PromptEnhancer(
        providers=[FakeProvider("a", hang()), FakeProvider("b", hang())], model="m", timeout_ms=500
    )
    async with asyncio.timeout(1.5):
        with pytest.raises(LLMTimeoutError) as caught:
            await enhancer.enhance("x")
    assert len(caught.value.attempts) == 2


async def test_a_chain_changed_during_a_run_counts_from_the_next_one():
    release = asyncio.Event()

    async def wait_then_fail() -> str:
        await release.wait()
        raise refuse("busy")

    enhancer = PromptEnhancer(providers=[FakeProvider("a", wait_then_fail)], model="m")
    running = asyncio.ensure_future(enhancer.enhance("x"))
    await asyncio.sleep(0)
    enhancer.register_provider(FakeProvider("b"))
    release.set()
    with pytest.raises(LLMProviderError, match="busy"):
        await running
    assert (await enhancer.enhance("x")).provider == "b"


# System prompts


def test_what_the_built_in_prompts_call_themselves():
    assert "prompt enhancer" in BUILT_IN_PROMPTS[PromptOperation.ENHANCE]
    assert "video continuation assistant" in BUILT_IN_PROMPTS[PromptOperation.AUTO_EXTEND]
    assert set(BUILT_IN_PROMPTS) == set(PromptOperation)


async def test_prompts_from_files(tmp_path):
    (tmp_path / "enhance.txt").write_text("  Verschönere: ünï 🦊\n\n", encoding="utf-8")
    (tmp_path / "rewrite.txt").write_text(" \n")
    provider = FakeProvider("a")
    for directory in (tmp_path, str(tmp_path)):
        enhancer = PromptEnhancer(providers=[provider], model="m", system_prompt_dir=directory)
        await enhancer.enhance("x")
        assert sent(provider)[0] == "Verschönere: ünï 🦊"
        await enhancer.rewrite("x")  # blank file
        assert sent(provider)[0] == BUILT_IN_PROMPTS[PromptOperation.REWRITE]
        await enhancer.auto_extend(["x"])  # no file
        assert sent(provider)[0] == BUILT_IN_PROMPTS[PromptOperation.AUTO_EXTEND]


async def test_the_byte_order_mark_of_an_editor_is_no_text(tmp_path):
    (tmp_path / "enhance.txt").write_bytes(b"\xef\xbb\xbf Be brief.\r\n")
    (tmp_path / "rewrite.txt").write_bytes(b"\xef\xbb\xbf\r\n")
    provider = FakeProvider("a")
    enhancer = PromptEnhancer(providers=[provider], model="m", system_prompt_dir=tmp_path)
    await enhancer.enhance("x")
    assert sent(provider)[0] == "Be brief."
    await enhancer.rewrite("x")
    assert sent(provider)[0] == BUILT_IN_PROMPTS[PromptOperation.REWRITE]


async def test_a_directory_that_does_not_exist(tmp_path):
    provider = FakeProvider("a")
    await PromptEnhancer(providers=[provider], model="m", system_prompt_dir=tmp_path / "none").enhance("x")
    assert sent(provider)[0] == BUILT_IN_PROMPTS[PromptOperation.ENHANCE]


async def test_reloading(tmp_path):
    for name in ("enhance", "rewrite"):
        (tmp_path / f"{name}.txt").write_text("old")
    release = asyncio.Event()

    async def fail_later() -> str:
        await release.wait()
        raise refuse()

    first, second = FakeProvider("a", fail_later), FakeProvider("b")
    enhancer = PromptEnhancer(providers=[first, second], model="m", system_prompt_dir=tmp_path)
    in_flight = asyncio.ensure_future(enhancer.enhance("x"))
    await asyncio.sleep(0)
    (tmp_path / "enhance.txt").write_text("new")
    enhancer.reload_system_prompts()
    release.set()
    await in_flight
    assert sent(second)[0] == "old"  # also for the fallback of a call in flight
    await enhancer.enhance("x")
    assert sent(second)[0] == "new"


async def test_a_file_that_cannot_be_read_changes_nothing(tmp_path):
    (tmp_path / "enhance.txt").write_text("old")
    (tmp_path / "rewrite.txt").write_text("old")
    provider = FakeProvider("a")
    enhancer = PromptEnhancer(providers=[provider], model="m", system_prompt_dir=tmp_path)
    (tmp_path / "enhance.txt").write_text("new")
    (tmp_path / "rewrite.txt").write_bytes(b"\xff\xfe broken")
    with pytest.raises(UnicodeDecodeError):
        enhancer.reload_system_prompts()
    await enhancer.enhance("x")
    assert sent(provider)[0] == "old"


def test_only_a_rewrite_has_a_count():
    request = build_request(
        PromptOperation.ENHANCE, "x", system_prompt="S", model="m", temperature=None, max_tokens=None, count=3
    )
    assert request == LLMRequest([LLMMessage("system", "S"), LLMMessage("user", "x")], "m", answer="text")


def test_parameters_without_a_value_are_left_out_and_the_effort_has_its_own_place():
    parameters = {"top_p": 0.9, "seed": None, "reasoning_effort": "low"}
    request = build_request(
        "enhance", "x", system_prompt="S", model="m", temperature=None, max_tokens=None, parameters=parameters
    )
    assert (dict(request.parameters), request.reasoning_effort) == ({"top_p": 0.9}, "low")


async def test_health_and_hedges_reach_the_chain():
    health = HealthRegistry()
    slow, quick = FakeProvider("slow", hang()), FakeProvider("quick")
    enhancer = PromptEnhancer(providers=[slow, quick], model="m")
    enhancer.health = health
    enhancer.hedges = {PromptOperation.ENHANCE: HedgePolicy(0, budget=1.0)}
    response = await enhancer.enhance("a fox")
    assert (response.provider, [attempt.hedge for attempt in response.attempts]) == ("quick", [False, True])
    assert health.view("slow").in_flight == 0


# Its own health


async def test_a_cooldown_is_known_to_its_next_runs():
    first, second = FakeProvider("a", limited(60.0)), FakeProvider("b")
    enhancer = PromptEnhancer(providers=[first, second], model="m")
    assert (await enhancer.enhance("x")).provider == "b"
    responses = await asyncio.gather(*(enhancer.enhance("x") for _ in range(30)))
    assert {response.provider for response in responses} == {"b"}
    assert len(first.requests) == 1


async def test_an_open_breaker_is_known_to_its_next_runs():
    first = FakeProvider("a", LLMServerError("down"))
    enhancer = PromptEnhancer(providers=[first, FakeProvider("b")], model="m")
    for _ in range(20):
        await enhancer.enhance("x")
    assert len(first.requests) == 5


async def test_two_of_one_name_share_nothing():
    first, second = FakeProvider("same", limited(60.0)), FakeProvider("same", "from the second")
    enhancer = PromptEnhancer(providers=[first, second], model="m")
    for _ in range(3):
        assert (await enhancer.enhance("x")).content == "from the second"
    assert (len(first.requests), len(second.requests)) == (1, 3)
    health = enhancer.health
    assert health.view(health.key(first)).cooldown_left_ms > 0
    assert health.view(health.key(second)).cooldown_left_ms == 0


async def test_two_enhancers_share_nothing_unless_they_are_given_one_registry():
    provider = FakeProvider("a", limited(60.0))
    for shared, calls in ((None, 2), (HealthRegistry(), 1)):
        provider.requests.clear()
        for _ in range(2):
            enhancer = PromptEnhancer(providers=[provider, FakeProvider("b")], model="m")
            if shared is not None:
                enhancer.health = shared
            await enhancer.enhance("x")
        assert len(provider.requests) == calls


async def test_providers_that_cannot_be_hashed_have_health_too():
    @dataclass
    class Plain:
        name: str = "plain"

        async def complete(self, request: LLMRequest) -> LLMResponse:
            return LLMResponse("x", self.name, "m", 1)

    plain = Plain()
    with pytest.raises(TypeError):
        hash(plain)
    enhancer = PromptEnhancer(providers=[plain, Plain()], model="m")
    await enhancer.enhance("x")
    assert len({enhancer.health.key(provider) for provider in enhancer.providers}) == 2


def test_an_identity_is_never_given_to_another_provider():
    health = PromptEnhancer(providers=[FakeProvider("a")], model="m").health
    keys = {health.key(FakeProvider("a")) for _ in range(100)}  # each could be where the one before was
    assert len(keys) == 100


async def test_a_single_500_of_the_only_provider_is_retried():
    provider = FakeProvider("a", LLMServerError("a answered with status 500"))
    enhancer = PromptEnhancer(providers=[provider], model="m")
    run = asyncio.ensure_future(enhancer.enhance("x"))
    await asyncio.sleep(0.02)
    provider.answer = "fine"
    response = await run
    assert [attempt.outcome for attempt in response.attempts] == ["failed", "succeeded"]
