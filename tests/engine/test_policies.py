"""The table of the consequences of an error."""

from __future__ import annotations

import pytest

from promptops.engine import (
    POLICIES,
    LLMProviderError,
    LLMResponse,
    LLMTimeoutError,
    Prices,
    Usage,
    complete_chain,
    errors,
)
from promptops.engine.policies import FALL_BACK_CHOICES, may_follow, policy_for
from tests.engine.helpers import FakeProvider, ask

CLASSES = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, LLMProviderError)]
PUBLIC = [each for each in CLASSES if not each.__name__.startswith("_")]


@pytest.mark.parametrize("error", PUBLIC, ids=lambda error: error.__name__)
def test_every_error_has_a_policy_that_agrees_with_it(error):
    assert POLICIES[error.kind].retryable is error("why").retryable


def test_every_policy_has_an_error():
    assert set(POLICIES) == {error.kind for error in PUBLIC}
    assert {policy.choice for policy in POLICIES.values()} - {None} == FALL_BACK_CHOICES


class OddError(LLMProviderError):
    kind = "odd"


@pytest.mark.parametrize(
    ("error", "options", "other", "follows"),
    [
        (LLMTimeoutError("x"), {}, {}, True),
        (LLMProviderError("x", retryable=False), {}, {}, False),
        (OddError("x"), {}, {}, True),
        (OddError("x", retryable=False), {}, {}, False),
        (errors.LLMRefusedError("x"), {}, {}, False),
        (errors.LLMRefusedError("x"), {"fall_back_on": {"auth", "not_found"}}, {}, False),
        (errors.LLMRefusedError("x"), {"fall_back_on": {"refused"}}, {}, True),
        (errors.LLMBadRequestError("x"), {"fall_back_on": FALL_BACK_CHOICES}, {}, False),
        (errors.LLMAuthError("x"), {}, {}, False),
        (errors.LLMAuthError("x"), {"fall_back_on": {"auth"}}, {}, True),
        (errors.LLMMissingKeyError("x"), {"fall_back_on": {"auth"}}, {}, True),
        (errors.LLMAuthError("x"), {"fall_back_on": {"not_found"}}, {}, False),
        (errors.LLMNotFoundError("x"), {"fall_back_on": {"not_found"}}, {}, True),
        (errors.LLMContextLengthError("x"), {}, {}, False),
        (errors.LLMContextLengthError("x"), {"context_tokens": 8}, {}, False),
        (errors.LLMContextLengthError("x"), {}, {"context_tokens": 9}, False),
        (errors.LLMContextLengthError("x"), {"context_tokens": 8}, {"context_tokens": 8}, False),
        (errors.LLMContextLengthError("x"), {"context_tokens": 8}, {"context_tokens": 9}, True),
    ],
)
async def test_the_provider_that_may_follow(error, options, other, follows):
    first, second = FakeProvider("a", error, **options), FakeProvider("b", **other)
    assert may_follow(error, first, second) is follows
    if follows:
        assert (await complete_chain(ask(), [first, second], timeout_ms=1000)).provider == "b"
    else:
        with pytest.raises(type(error)):
            await complete_chain(ask(), [first, second], timeout_ms=1000)
        assert second.requests == []


def test_kinds_of_third_parties_go_by_retryable():
    assert policy_for(OddError("x")).breaker is True
    assert policy_for(OddError("x", retryable=False)).breaker is False


async def test_context_length_skips_the_providers_that_are_too_small():
    providers = [
        FakeProvider("a", errors.LLMContextLengthError("too long"), context_tokens=8),
        FakeProvider("small", context_tokens=4),
        FakeProvider("large", context_tokens=32),
    ]
    response = await complete_chain(ask(), providers, timeout_ms=1000)
    assert [attempt.provider for attempt in response.attempts] == ["a", "large"]


async def test_a_truncated_answer_moves_on_and_the_last_provider_is_asked_once_more():
    class Thinker(FakeProvider):
        async def complete(self, request):
            self.requests.append(request)
            if (request.max_tokens or 0) < 1000:
                raise errors.LLMTruncatedError(f"{self.name}: all used up by thinking")
            return LLMResponse("enough", self.name, "m", 1.0)

    alone = Thinker("alone")
    response = await complete_chain(ask(max_tokens=256), [alone], timeout_ms=1000)
    assert [request.max_tokens for request in alone.requests] == [256, 1024]
    assert (response.content, response.fallback_used) == ("enough", False)
    assert [attempt.outcome for attempt in response.attempts] == ["failed", "succeeded"]

    response = await complete_chain(ask(max_tokens=256), [Thinker("a"), FakeProvider("b")], timeout_ms=1000)
    assert [attempt.provider for attempt in response.attempts] == ["a", "b"]

    for limit, calls in ((8, 2), (None, 1)):  # never more than once, and not without a limit to raise
        poor = Thinker("poor")
        with pytest.raises(errors.LLMTruncatedError) as caught:
            await complete_chain(ask(max_tokens=limit), [poor], timeout_ms=1000)
        assert len(poor.requests) == len(caught.value.attempts) == calls


async def test_costs_of_a_run():
    prices = Prices(input=2.0, cached=0.5, output=10.0)
    paid = errors.LLMEmptyError("a: empty")
    paid.usage = Usage(1_000_000, 0)
    answer = LLMResponse("text", "b", "m", 1.0, usage=Usage(1_000_000, 100_000, cached_tokens=400_000))
    providers = [FakeProvider("a", paid, prices=prices), FakeProvider("b", answer, prices=prices)]
    response = await complete_chain(ask(), providers, timeout_ms=1000)
    assert [attempt.cost for attempt in response.attempts] == [2.0, pytest.approx(0.6 * 2 + 0.4 * 0.5 + 1.0)]
    assert response.cost == pytest.approx(4.4)
    assert response.cost_estimated is False

    guessed = await complete_chain(ask("12345678"), [FakeProvider("a", "four", prices=prices)], timeout_ms=1000)
    attempt = guessed.attempts[0]
    assert (attempt.usage, attempt.usage_estimated, attempt.cost_estimated) == (Usage(2 + 2, 1), True, True)
    assert guessed.cost == attempt.cost == pytest.approx((4 * 2 + 1 * 10) / 1e6)
    assert guessed.usage is None  # the response has only the provider's own counts

    free = await complete_chain(ask(), [FakeProvider("a", answer)], timeout_ms=1000)
    assert (free.cost, free.attempts[0].cost, free.attempts[0].cost_estimated) == (None, None, False)


async def test_cached_input_without_a_price_of_its_own_costs_the_same():
    answer = LLMResponse("text", "b", "m", 1.0, usage=Usage(1_000_000, None, cached_tokens=400_000))
    provider = FakeProvider("b", answer, prices=Prices(2.0, None, 1.0))
    assert (await complete_chain(ask(), [provider], timeout_ms=1000)).cost == pytest.approx(2.0)
