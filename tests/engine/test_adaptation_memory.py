"""Learned adaptations: applied at once, shared between threads, forgotten."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

from promptops.engine import (
    HealthRegistry,
    LLMProviderError,
    LLMResponse,
    OpenAICompatibleProvider,
    complete_chain,
)
from promptops.engine.providers.adaptations import ADAPTATIONS, MAX_WORDS, AdaptationMemory, learned
from tests.engine.adaptation_servers import error, good
from tests.engine.helpers import (
    KEY,
    ask,
    call_server,
    loopback,
)


async def test_what_was_learned_is_asked_right_at_once_and_can_be_forgotten():
    def says(sent: Any) -> bytes:
        return error(f"Unsupported parameter: 'temperature' ({KEY})") if "temperature" in sent else good(sent)

    heard: list[tuple[str, ...]] = []
    learned.on_learned = lambda *facts: heard.append(facts)

    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(says(server.requests[-1].body))

    async with loopback(respond) as server:
        one = OpenAICompatibleProvider(server.url, "acme", KEY, "m")
        counts = []
        for _ in range(2):
            await one.complete(ask(temperature=0.7))
            counts.append(len(server.requests))
        assert counts == [2, 3]
        # The same server with another spelling counts, another model of it does not.
        await OpenAICompatibleProvider(server.url + "/chat/completions/", model="m").complete(ask(temperature=0.7))
        assert len(server.requests) == 4
        await OpenAICompatibleProvider(server.url, model="other").complete(ask(temperature=0.7))
        assert len(server.requests) == 6
        words = learned.get(server.url, "m")["no_temperature"]
        assert "Unsupported parameter" in words
        assert KEY not in words
        assert [(facts[0], facts[1], facts[2]) for facts in heard] == [
            (server.url, "m", "no_temperature"),
            (server.url, "other", "no_temperature"),
        ]
        learned.forget(server.url, "m")
        assert learned.get(server.url, "m") == {}
        await one.complete(ask(temperature=0.7))
        assert len(server.requests) == 8


async def test_the_operators_own_choice_always_applies():
    own = {"adaptations": frozenset({"max_completion_tokens", "no_temperature", "no_stream"})}
    got, requests = await call_server(good, **own)
    assert isinstance(got, LLMResponse), got
    assert set(requests[0].body) == {"model", "messages", "max_completion_tokens"}
    assert learned._learned == {}


async def test_learning_costs_the_breaker_and_the_run_nothing():
    health = HealthRegistry()

    async def respond(writer: asyncio.StreamWriter) -> None:
        sent = server.requests[-1].body
        writer.write(error("Unsupported parameter: 'temperature'") if "temperature" in sent else good(sent))

    async with loopback(respond) as server:
        provider = OpenAICompatibleProvider(server.url, "acme")
        response = await complete_chain(ask(temperature=0.7), [provider], timeout_ms=5000, health=health)
        assert [(attempt.provider, attempt.outcome) for attempt in response.attempts] == [("acme", "succeeded")]
        assert (health.view("acme").state, health.view("acme").misconfigured) == ("closed", False)


async def test_the_second_call_has_the_time_that_is_left():
    async def respond(writer: asyncio.StreamWriter) -> None:
        sent = server.requests[-1].body
        await asyncio.sleep(0.6 if "temperature" in sent else 30)
        writer.write(error("Unsupported parameter: 'temperature'"))

    async with loopback(respond) as server:
        started = asyncio.get_running_loop().time()
        with pytest.raises(LLMProviderError) as caught:
            await OpenAICompatibleProvider(server.url).complete(ask(temperature=0.7, timeout_ms=1000))
        assert caught.value.kind == "timeout"
        assert asyncio.get_running_loop().time() - started < 1.5  # with the whole time again it would be 1.6 s
        assert learned.get(server.url, "default-model") == {}


async def test_a_callback_that_fails_fails_no_run(caplog):
    def broken(*facts: str) -> None:
        raise RuntimeError("the database is away")

    learned.on_learned = broken
    caplog.set_level(logging.ERROR)
    says = lambda sent: error("Unsupported parameter: 'temperature'") if "temperature" in sent else good(sent)  # noqa: E731
    got, _ = await call_server(says, stream=False)
    assert isinstance(got, LLMResponse), got
    assert "could not be stored" in caplog.text


def test_the_memory():
    memory = AdaptationMemory()
    assert memory.learn("http://a/v1/", "m", "no_temperature", "w" * 999) is True
    assert memory.learn("http://a/v1", "m", "no_temperature", "again") is False
    assert memory.get("http://a/v1", "m") == {"no_temperature": "w" * MAX_WORDS}
    memory.restore("http://b", "m", {"no_stream": "kept", "of another release": "x"})
    assert memory.get("http://b", "m") == {"no_stream": "kept"}
    memory.forget("http://b", "unknown")
    memory.forget("http://b", "m")
    assert memory.get("http://b", "m") == {}
    with pytest.raises(KeyError):
        memory.learn("http://a", "m", "no_such_thing", "")
    returned = memory.get("http://a/v1", "m")
    returned.clear()  # type: ignore[attr-defined]
    assert memory.get("http://a/v1", "m")


def test_many_threads_learn_the_same_once():
    memory = AdaptationMemory()
    heard: list[str] = []
    memory.on_learned = lambda base_url, model, name, words: heard.append(name)
    names = list(ADAPTATIONS)
    threads = [
        threading.Thread(target=lambda: [memory.learn("http://a", "m", name, "w") for name in names]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(heard) == sorted(names)
