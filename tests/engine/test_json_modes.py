"""Requests of each kind of provider beside a JSON contract, and their refusals."""

from __future__ import annotations

from typing import Any

import pytest

from promptops.engine import (
    CerebrasProvider,
    GroqProvider,
    JsonContract,
    LLMMessage,
    LLMRequest,
    LLMResponse,
    TextContract,
    build_provider,
)
from promptops.engine.providers.adaptations import learned
from promptops.engine.providers.local import LocalProvider
from promptops.engine.snapshot import ProviderSpec
from tests.engine.contracts.shapes import EDIT, GOOD_SEGMENTS, PROMPTS, SEGMENTS
from tests.engine.helpers import ask, completion, http_answer, loopback, provider

OBJECT = {"type": "json_object"}
CONTRACT = JsonContract.of(SEGMENTS)


def request(contract: Any = CONTRACT, system: str = "Answer in JSON.") -> LLMRequest:
    return LLMRequest([LLMMessage("system", system), LLMMessage("user", "a fox")], "m", contract=contract)


def schema(contract: JsonContract, *, strict: bool) -> dict[str, Any]:
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": strict, "schema": contract.schema},
    }


STRICT = JsonContract.of(
    {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
)


@pytest.mark.parametrize(
    ("mode", "asked", "wanted"),
    [
        ("none", request(), None),
        ("object", request(), OBJECT),
        ("object", request(system="Answer with an object."), None),
        ("object", request(JsonContract.of(PROMPTS)), None),
        ("schema", request(), schema(CONTRACT, strict=False)),
        ("schema", request(STRICT, system="x"), schema(STRICT, strict=True)),
        ("schema", request(JsonContract.of(PROMPTS)), schema(JsonContract.of(PROMPTS), strict=False)),
        ("schema", request(TextContract(max_words=5)), None),
        ("schema", request(None), None),
        ("none", ask(json_mode=True), OBJECT),
    ],
)
def test_the_mode_decides_what_is_sent(mode, asked, wanted):
    payload = provider(json_mode=mode)._payload(asked, stream=False)
    assert payload.get("response_format") == wanted


def test_cerebras_streams_no_json():
    for mode, streams in (("object", False), ("schema", False), ("none", True)):
        assert CerebrasProvider("k", json_mode=mode).can_stream(request()) is streams
    assert GroqProvider("k").can_stream(request())


@pytest.mark.parametrize(
    ("kind", "default"), [("cerebras", "object"), ("groq", "object"), ("openai", "object"), ("local", "schema")]
)
def test_a_provider_has_the_mode_of_its_kind_or_its_own(kind, default):
    def built(**fields: Any) -> Any:
        spec = ProviderSpec(id=1, name="p", kind=kind, base_url="http://x/v1", model="m", timeout_ms=None, **fields)
        return build_provider(spec)

    assert built().json_mode == default
    assert built(json_mode="none").json_mode == "none"
    assert LocalProvider().json_mode == "schema"


REFUSED_SCHEMAS = [
    (400, "This response_format type is unavailable now"),  # DeepSeek
    (422, "Failed to deserialize the JSON body: response_format.type `json_schema` is unavailable now at line 1"),
    (400, "invalid schema for response format: response_format/json_schema/answer: minItems is not supported"),  # Groq
    (400, "This model does not support response format `json_schema`. See supported models"),  # Groq
    (400, "'response_format.type' : value is not one of the allowed values ['text','json_object']"),  # Groq
    (400, "Invalid schema for response_format 'answer': In context=(), 'additionalProperties' is required"),  # OpenAI
    (400, "The provided JSON schema contains features not supported by xgrammar."),  # vLLM
    (400, "Failed to initialize samplers: failed to parse grammar"),  # llama.cpp
    (400, "JSON schema conversion failed: Unrecognized schema"),  # llama.cpp
    (400, "The response_format parameter is unsupported at the moment."),  # xAI
]


async def call(asked: LLMRequest, refuses: Any, status: int, words: str) -> tuple[Any, list[Any], list[str]]:
    """Return the response to `asked`, the formats that were requested, and the adaptations that were learned."""

    async def respond(writer):
        wanted = server.requests[-1].body.get("response_format")
        is_refused = wanted is not None and refuses(wanted["type"])
        error = {"error": {"message": words, "type": "invalid_request_error"}}
        writer.write(http_answer(error, status) if is_refused else http_answer(completion(GOOD_SEGMENTS)))

    async with loopback(respond) as server:
        acme = provider(server.url, json_mode="schema")
        response = await acme.complete(asked)
        formats = [(each.body.get("response_format") or {}).get("type") for each in server.requests]
        return response, formats, list(learned.get(server.url, "m"))


@pytest.mark.parametrize(("status", "words"), REFUSED_SCHEMAS)
async def test_a_refused_schema_becomes_json_mode(status, words):
    response, formats, adaptations = await call(request(), lambda kind: kind == "json_schema", status, words)
    assert isinstance(response, LLMResponse)
    assert (formats, adaptations) == (["json_schema", "json_object"], ["json_object"])


async def test_refused_json_mode_is_left_out_after_the_schema():
    words = "This model does not support structured outputs or JSON mode"

    async def respond(writer):
        wanted = server.requests[-1].body.get("response_format")
        error = {"error": {"message": f"{words}: {wanted and wanted['type']}", "type": "invalid_request_error"}}
        writer.write(http_answer(error, 400) if wanted else http_answer(completion(GOOD_SEGMENTS)))

    async with loopback(respond) as server:
        await provider(server.url, json_mode="schema").complete(request())
        formats = [(each.body.get("response_format") or {}).get("type") for each in server.requests]
        assert formats == ["json_schema", "json_object", None]
        assert list(learned.get(server.url, "m")) == ["json_object", "no_response_format"]


@pytest.mark.parametrize("asked", [request(JsonContract.of(PROMPTS)), request(system="Answer with an object.")])
async def test_a_schema_is_left_out_where_json_mode_would_do_harm(asked):
    _, formats, adaptations = await call(asked, lambda kind: True, *REFUSED_SCHEMAS[0])
    assert (formats, adaptations) == (["json_schema", None], ["json_object"])


async def test_a_schema_reaches_the_server_unchanged():
    _, formats, _ = await call(request(JsonContract.of(EDIT)), lambda kind: False, 200, "")
    assert formats == ["json_schema"]
    assert JsonContract.of(EDIT).schema == EDIT
