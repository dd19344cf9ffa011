"""Drills: each fault, and the reaction of the chain."""

from __future__ import annotations

import pytest

from promptops.engine import (
    FAULTS,
    LLMAuthError,
    LLMInterruptedError,
    OpenAICompatibleProvider,
    Prices,
    complete_chain,
    faulty,
    run_chain,
)
from tests.engine.helpers import FakeProvider, FakeStream, ask, collect, text_of

KINDS = {
    "429": "rate_limited",
    "503": "server",
    "timeout": "timeout",
    "drip": "timeout",
    "empty": "empty",
    "cut_stream": "transport",
}


@pytest.mark.parametrize(("fault", "kind"), KINDS.items())
async def test_the_chain_copes(fault, kind):
    first, second = FakeProvider("a", "never seen", prices=Prices(1, 1, 1)), FakeProvider("b")
    response = await complete_chain(ask(), [faulty(first, fault), second], timeout_ms=300)
    assert (response.provider, response.fallback_used) == ("b", True)
    assert [(attempt.provider, attempt.error_kind) for attempt in response.attempts] == [("a", kind), ("b", None)]
    assert response.attempts[0].cost is None
    assert first.requests == []


async def test_a_wrong_key_stops_the_run_unless_the_operator_chose_otherwise():
    with pytest.raises(LLMAuthError, match="drill"):
        await complete_chain(ask(), [faulty(FakeProvider("a"), "401"), FakeProvider("b")], timeout_ms=300)
    chosen = FakeProvider("a", fall_back_on=frozenset({"auth"}))
    assert (await complete_chain(ask(), [faulty(chosen, "401"), FakeProvider("b")], timeout_ms=300)).provider == "b"


@pytest.mark.parametrize("fault", [fault for fault in KINDS if fault != "cut_stream"])
async def test_a_stream_falls_back_before_its_first_text(fault):
    providers = [faulty(FakeStream("a", "never seen"), fault), FakeStream("b", "whole")]
    assert text_of(await collect(run_chain(ask(), providers, timeout_ms=300))) == "whole"


async def test_a_cut_stream_is_never_spliced():
    events: list = []
    providers = [faulty(FakeStream("a", "never seen"), "cut_stream"), FakeStream("b", "other")]
    with pytest.raises(LLMInterruptedError):
        await collect(run_chain(ask(), providers, timeout_ms=300), events)
    assert text_of(events) == "A red fox "


def test_it_has_the_same_name():
    real = OpenAICompatibleProvider("http://here/v1", "acme", model="big", timeout_ms=7, max_concurrent=3)
    made = faulty(real, "503")
    assert (made.name, made.model, made.timeout_ms, made.max_concurrent) == ("acme", "big", 7, 3)
    assert set(FAULTS) == {*KINDS, "401"}
    with pytest.raises(ValueError, match="Unknown fault"):
        faulty(real, "flood")
