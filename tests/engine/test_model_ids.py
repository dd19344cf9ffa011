"""The list of a server's models, over real HTTP: its shapes, its refusals, its bounds."""

from __future__ import annotations

import pytest

from promptops.engine import LLMProviderError
from promptops.engine.providers import model_ids
from promptops.engine.providers.addresses import models_endpoint
from tests.engine.fault_servers import at, head
from tests.engine.helpers import KEY, answer_with, hang, http_answer, loopback, provider


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        ({"object": "list", "data": [{"id": "b"}, {"id": "A"}, {"id": "b"}]}, ["A", "b"]),
        ([{"id": "vendor/model"}], ["vendor/model"]),
        ({"models": [{"name": "llama3:8b"}, "plain"]}, ["llama3:8b", "plain"]),
        ({"data": []}, []),
        ({"data": [{"id": 7}, {"id": "two\nlines"}, {"id": "x" * 201}, None, {}]}, []),
        ({"data": [{"id": f"{number:04}"} for number in range(2500)]}, [f"{number:04}" for number in range(2000)]),
    ],
)
async def test_a_list_is_read_in_each_shape(body: object, ids: list[str]) -> None:
    async with loopback(answer_with(http_answer(body))) as server:
        assert await at(server).models() == ids
        received = server.requests[0]
        assert (received.path, received.headers["authorization"]) == ("/v1/models", f"Bearer {KEY}")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            http_answer({"error": {"message": f"Invalid API key {KEY}"}}, 401),
            "bad answered with status 401: Invalid API",
        ),
        (http_answer({}, 404), "bad answered with status 404"),
        (head(302, location="http://127.0.0.1:9/v1/models", content_length="0"), "bad answered with status 302"),
        (http_answer("<html>hello</html>", content_type="text/html"), "bad answered, but not with a list of models"),
        (http_answer({"data": "none"}), "bad answered, but not with a list of models"),
        (http_answer(b" " * (4 * 1024 * 1024 + 1)), "bad sent more than 4 MiB"),
    ],
)
async def test_a_list_that_cannot_be_had_is_a_sentence_without_the_key(answer: bytes, sentence: str) -> None:
    async with loopback(answer_with(answer)) as server:
        with pytest.raises(LLMProviderError, match=sentence) as caught:
            await at(server).models()
    assert KEY not in str(caught.value)


async def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptops.engine.providers.openai_compatible.MODELS_SECONDS", 0.05)
    async with loopback(lambda _: hang()()) as server:
        with pytest.raises(LLMProviderError, match="did not list its models within"):
            await at(server).models()


@pytest.mark.parametrize(
    ("base_url", "sentence"),
    [
        ("http://169.254.169.254/v1", "metadata service"),
        ("http://127.0.0.1:9/v1", "the connection was refused"),
    ],
)
async def test_a_server_that_is_not_called_gives_its_reason(base_url: str, sentence: str) -> None:
    with pytest.raises(LLMProviderError, match=sentence):
        await provider(base_url).models()


def test_the_address_of_a_list_keeps_the_query() -> None:
    assert models_endpoint("https://a.example/v1/chat/completions?v=2") == "https://a.example/v1/models?v=2"
    assert model_ids.model_ids(b"\xff\xfe") is None
