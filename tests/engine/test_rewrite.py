"""Rewrite: the alternatives in an answer."""

from __future__ import annotations

import pytest

from promptops.engine import (
    LLMResponse,
    PromptEnhancer,
    RewriteOptions,
    RewriteResult,
    build_rewrite,
    parse_alternatives,
)
from tests.engine.helpers import FakeProvider, refuse


@pytest.mark.parametrize(
    ("text", "alternatives"),
    [
        ("one\ntwo", ["one", "two"]),
        ("- one\n* two\n• three\n1. four\n2) five", ["one", "two", "three", "four", "five"]),
        ("-one\n*two\n•three\n1.four\n2)five", ["one", "two", "three", "four", "five"]),
        ("  - one\n\t* two\n   12. three", ["one", "two", "three"]),
        ("- 1. one\n1. - two\n* • 3) three\n- - four", ["one", "two", "three", "four"]),
        ("one\n\n  \n-\n1.\n---\n•\ntwo", ["one", "two"]),
        ("one\r\ntwo\rthree", ["one", "two", "three"]),
        ("-40 degrees, a fox", ["-40 degrees, a fox"]),
        ("*slow* zoom on a fox", ["*slow* zoom on a fox"]),
        ("3.5 mm lens\n1984. A city", ["3.5 mm lens", "1984. A city"]),
        ("2 foxes - one red", ["2 foxes - one red"]),
        ("1. 2 foxes\n2. 3D fox", ["2 foxes", "3D fox"]),
        ("", []),
    ],
)
def test_parse_alternatives(text, alternatives):
    assert parse_alternatives(text, 9) == alternatives


@pytest.mark.parametrize(("count", "kept"), [(-1, 1), (0, 1), (1, 1), (2, 2), (3, 3), (99, 4)])
def test_at_most_count_are_kept(count, kept):
    assert parse_alternatives("a\n\nb\nc\nd", count) == list("abcd")[:kept]


def test_the_defaults():
    assert RewriteOptions() == RewriteOptions(count=3, temperature=None)
    assert RewriteResult("s", ["a"], "p", "m", 1.0).fallback_used is False


async def test_the_result():
    answer = LLMResponse("1. red\n2. blue\n3. green\n4. gray", "b", "their-model", 12.5)
    enhancer = PromptEnhancer(providers=[FakeProvider("a", refuse()), FakeProvider("b", answer)], model="m")
    assert await build_rewrite(enhancer, " a fox ") == RewriteResult(
        " a fox ", ["red", "blue", "green"], "b", "their-model", 12.5, True
    )


async def test_the_options_reach_the_model():
    provider = FakeProvider("a", "one")
    enhancer = PromptEnhancer(providers=[provider], model="m")
    await build_rewrite(enhancer, "a fox", options=RewriteOptions(count=5, temperature=1.1))
    await build_rewrite(enhancer, "a fox")
    first, second = provider.requests
    assert "exactly 5 alternatives" in first.messages[0].content
    assert first.messages[1].content == "a fox"
    assert first.temperature == 1.1
    assert "exactly 3 alternatives" in second.messages[0].content
    assert second.temperature == 0.7


class OnlySeed:
    async def rewrite(self, seed):
        return LLMResponse(f"{seed} 1\n{seed} 2", "p", "m", 1)


class SeedAndCount:
    async def rewrite(self, seed_prompt, *, count=1):
        return LLMResponse("\n".join(f"{seed_prompt} {n}" for n in range(count)), "p", "m", 1)


class Anything:
    async def rewrite(self, seed, **options):
        return LLMResponse(f"{seed} {options}", "p", "m", 1)


@pytest.mark.parametrize(
    ("enhancer", "alternatives"),
    [
        (OnlySeed(), ["x 1", "x 2"]),
        (SeedAndCount(), ["x 0", "x 1"]),
        (Anything(), ["x {'count': 2, 'temperature': 0.5}"]),
    ],
)
async def test_any_object_with_rewrite_works(enhancer, alternatives):
    result = await build_rewrite(enhancer, "x", options=RewriteOptions(2, 0.5))
    assert result.alternatives == alternatives


@pytest.mark.parametrize("blank", ["", " \n"])
async def test_a_blank_seed(blank):
    provider = FakeProvider("a")
    with pytest.raises(ValueError, match="empty"):
        await build_rewrite(PromptEnhancer(providers=[provider], model="m"), blank)
    assert provider.requests == []
