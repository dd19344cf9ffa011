"""Parts of a request that a server refuses: recognized, and left out or renamed once."""

from __future__ import annotations

from typing import Any

import pytest

from promptops.engine import (
    LLMMessage,
    LLMProviderError,
    LLMRequest,
    LLMResponse,
    OpenAICompatibleProvider,
)
from promptops.engine.providers.adaptations import ADAPTATIONS, learned
from tests.engine.adaptation_servers import error, full_request, good
from tests.engine.helpers import (
    BOTH,
    answer_with,
    ask,
    call_server,
    collect,
    delta,
    event,
    http_answer,
    loopback,
    stream_head,
)


def has_system(sent: Any) -> bool:
    return any(message["role"] == "system" for message in sent["messages"])


# Refusals: (the refused part, the words of the server, its status)

MISTRAL = {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs no"}]}


REFUSALS: list[tuple[str, dict[str, Any], int]] = [
    (
        "max_tokens",
        {
            "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use"
            " 'max_completion_tokens' instead.",
            "param": "max_tokens",
            "code": "unsupported_parameter",
        },
        400,
    ),
    ("max_tokens", {"message": "Unsupported parameter: 'max_tokens' is not supported with this model."}, 400),
    ("max_tokens", {"message": "no", "param": "max_tokens", "code": "unsupported_parameter"}, 400),
    ("max_tokens", {"message": 'json: unknown field "max_tokens"'}, 400),
    ("max_tokens", {"message": "property 'max_tokens' is unsupported"}, 400),
    ("max_tokens", {"message": "max_tokens: Extra inputs are not permitted"}, 422),
    ("max_tokens", {"message": "create() got an unexpected keyword argument 'max_tokens'"}, 400),
    ("temperature", {"message": "temperature is not supported by this model. See max_tokens for limits."}, 400),
    (
        "temperature",
        {
            "message": "Unsupported value: 'temperature' does not support 0.7 with this model."
            " Only the default (1) value is supported.",
            "param": "temperature",
            "code": "unsupported_value",
        },
        400,
    ),
    ("temperature", {"message": "invalid temperature: only 1 is allowed for this model"}, 400),
    ("temperature", {"message": "`temperature` is deprecated for this model."}, 400),
    ("temperature", {"message": "`temperature` may only be set to 1 when thinking is enabled."}, 400),
    ("temperature", {"message": "openai does not support parameters: ['temperature'], for model=o3-mini."}, 400),
    ("temperature", {"message": "参数 temperature 不支持"}, 400),
    ("top_p", {"message": "Unrecognized request argument supplied: top_p"}, 400),
    ("seed", {"message": 'Unknown name "seed": Cannot find field.', "status": "INVALID_ARGUMENT"}, 400),
    ("frequency_penalty", {"message": "frequency_penalty is not allowed"}, 400),
    ("presence_penalty", {"message": "Additional properties are not allowed ('presence_penalty' was unexpected)"}, 400),
    ("stop", {"message": "Unsupported parameter: 'stop' is not supported with this model.", "param": "stop"}, 400),
    ("response_format", {"message": "'response_format.type' must be 'json_schema'"}, 400),
    (
        "response_format",
        {"message": "Invalid parameter: 'response_format' of type 'json_object' is not supported"},
        400,
    ),
    ("response_format", {"message": "This model does not support JSON mode"}, 400),
    ("reasoning_effort", {"message": "Unrecognized request argument supplied: reasoning_effort"}, 400),
    ("reasoning_effort", {"message": '"llama3.1:8b" does not support thinking'}, 400),
    ("reasoning_effort", {"message": "Model m does not support parameter reasoningEffort."}, 400),
    ("reasoning_effort", {"message": "Unsupported value: 'reasoning_effort' does not support 'low'."}, 400),
]


@BOTH
@pytest.mark.parametrize(("part", "words", "status"), REFUSALS)
async def test_a_refused_part_is_asked_for_differently_once(part, words, status, stream):
    def says(sent: Any) -> bytes:
        return http_answer({"error": words}, status) if part in sent else good(sent)

    got, requests = await call_server(says, stream=stream, request=full_request())
    assert isinstance(got, LLMResponse), got
    assert got.content == "A fox"
    first, second = (set(request.body) for request in requests)
    renamed = {"max_completion_tokens"} if part == "max_tokens" else set()
    assert (first - second, second - first) == ({part}, renamed)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"object": "error", "message": MISTRAL, "type": "invalid_request_error"}, 422),
        ({"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs"}]}, 422),
        ({"detail": [{"type": "x", "loc": ["stream_options"], "msg": "Extra inputs are not permitted"}]}, 400),
        (
            {"error": {"message": "[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra'}]"}},
            400,
        ),
        ({"error": {"message": '{"error": {"message": "Unknown parameter: stream_options"}}'}}, 400),
        ([{"error": {"code": 400, "message": 'Unknown name "stream_options": Cannot find field.'}}], 400),
        ({"error": "未知参数 stream_options"}, 400),
    ],
)
async def test_stream_options_refused_in_any_shape(body, status):
    got, requests = await call_server(
        lambda sent: http_answer(body, status) if "stream_options" in sent else good(sent)
    )
    assert isinstance(got, LLMResponse), got
    assert [request.body["stream"] for request in requests] == [True, True]


async def test_a_refusal_under_200_is_learned_from_too():
    refusal = {"error": {"code": 400, "message": "Unsupported parameter: 'max_tokens'"}}
    for under in (http_answer(refusal), stream_head() + event(refusal)):
        learned.clear()
        got, _ = await call_server(lambda sent, under=under: under if "max_tokens" in sent else good(sent))
        assert isinstance(got, LLMResponse), got


@pytest.mark.parametrize(
    "message",
    [
        "Streaming is not supported for this model",
        "Your organization must be verified to stream this model.",
        "Unsupported value: 'stream' does not support true with this model.",
    ],
)
async def test_a_server_that_does_not_stream_is_asked_for_the_whole(message):
    says = lambda sent: error(message, param="stream", code="unsupported_value") if "stream" in sent else good(sent)  # noqa: E731
    got, requests = await call_server(says)
    assert isinstance(got, LLMResponse), got
    assert "stream_options" not in requests[1].body


@BOTH
@pytest.mark.parametrize(
    ("message", "status", "fields"),
    [
        ("System role not supported", 400, {}),
        ("System role not supported", 500, {"message": "Jinja Exception: System role not supported"}),
        ("role 'system' is not supported on this model", 400, {}),
        ("Unsupported value: 'messages[0].role' does not support 'system' with this model.", 400, {}),
        ("no", 400, {"message": "'system' does not support", "param": "messages[0].role", "code": "unsupported_value"}),
        ("Only user and assistant roles are supported!", 400, {}),
        ("Conversation roles must alternate user/assistant/user/assistant/...", 400, {}),
        ("Developer instruction is not enabled for models/gemma-3-27b-it", 400, {}),
        ("This model does not support system messages.", 400, {}),
        ("This model doesn't support system prompts", 422, {}),
        ('messages: Unexpected role "system". The API accepts a top-level `system` parameter', 400, {}),
        ("'system' is not one of ['user', 'assistant'] - 'messages.0.role'", 400, {}),
        ("messages.0.role: Input should be 'user' or 'assistant'", 422, {}),
        ("invalid role: system", 400, {}),
    ],
)
async def test_a_refused_system_role_moves_into_the_user_message(message, status, fields, stream):
    says = lambda sent: error(**{"message": message, "status": status, **fields}) if has_system(sent) else good(sent)  # noqa: E731
    got, requests = await call_server(says, stream=stream)
    assert isinstance(got, LLMResponse), got
    assert [request.body["messages"] for request in requests][1:] == [
        [{"role": "user", "content": "Improve.\n\na fox"}]
    ]


async def test_a_system_prompt_without_a_user_message_becomes_one():
    request = LLMRequest([LLMMessage("system", "Go."), LLMMessage("assistant", "Yes?")], "m", timeout_ms=5000)
    options = {"adaptations": frozenset({"system_in_user"})}
    _, requests = await call_server(good, stream=False, request=request, **options)
    assert [message["role"] for message in requests[0].body["messages"]] == ["user", "assistant"]


# Refusals that teach nothing


@pytest.mark.parametrize(
    ("message", "status", "kind"),
    [
        ("max_tokens is too large: 100000. This model supports at most 4096 completion tokens.", 400, "bad_request"),
        ("temperature must be between 0 and 2", 400, "bad_request"),
        ("Invalid value for 'max_tokens': must be at least 16", 400, "bad_request"),
        ("Range of max_tokens should be [1, 8192]", 400, "bad_request"),
        ("Unsupported parameter: 'tools'. temperature and max_tokens are fine.", 400, "bad_request"),
        ("The model m is not supported", 400, "bad_request"),
        ("input length and `max_tokens` exceed context limit; longer prompts are not supported", 400, "context_length"),
        ("Prompt is not allowed by our content policy (temperature)", 400, "refused"),
        ("Unsupported parameter: 'temperature'", 500, "server"),
        ("Unsupported parameter: 'temperature'", 401, "auth"),
        ("Unsupported parameter: 'temperature'", 429, "rate_limited"),
        ("Unsupported parameter: 'top_k'", 400, "bad_request"),
        ("the system is not available", 400, "bad_request"),
    ],
)
async def test_other_refusals_are_not_learned_from(message, status, kind):
    got, requests = await call_server(error(message, status), stream=False)
    assert isinstance(got, LLMProviderError)
    assert (got.kind, len(requests)) == (kind, 1)


async def test_only_a_part_that_was_sent_is_left_out():
    got, requests = await call_server(
        error("Unsupported parameter: 'temperature'"), stream=False, request=LLMRequest([LLMMessage("user", "x")], "m")
    )
    assert isinstance(got, LLMProviderError)
    assert len(requests) == 1


async def test_what_did_not_help_is_not_remembered():
    says = lambda sent: error("Unsupported parameter: 'tools', as is temperature")  # noqa: E731
    got, requests = await call_server(says, stream=False)
    assert isinstance(got, LLMProviderError)
    assert (got.kind, len(requests)) == ("bad_request", 2)
    assert learned._learned == {}


# The number of calls


async def test_two_parts_refused_in_turn():
    def says(sent: Any) -> bytes:
        for part in ("max_tokens", "temperature"):
            if part in sent:
                return error(f"Unsupported parameter: '{part}' is not supported with this model.", param=part)
        return good(sent)

    got, requests = await call_server(says, stream=False)
    assert isinstance(got, LLMResponse), got
    assert len(requests) == 3
    ((_, known),) = learned._learned.items()
    assert list(known) == ["max_completion_tokens", "no_temperature"]


async def test_both_names_of_the_token_limit_refused():
    def says(sent: Any) -> bytes:
        name = next((name for name in ("max_tokens", "max_completion_tokens") if name in sent), None)
        return error(f"Unknown parameter: '{name}'", param=name) if name else good(sent)

    got, requests = await call_server(says, stream=False)
    assert isinstance(got, LLMResponse), got
    assert len(requests) == 3


async def test_a_server_that_refuses_everything_is_asked_four_times():
    def says(sent: Any) -> bytes:
        rest = [part for part in sent if part not in ("model", "messages", "max_completion_tokens")]
        return error(f"Unsupported parameter: '{rest[0]}'") if rest else good(sent)

    got, requests = await call_server(says, stream=False, request=full_request())
    assert isinstance(got, LLMProviderError)
    assert (got.kind, len(requests)) == ("bad_request", 4)


def test_each_adaptation_has_a_label_and_changes_only_its_own_part():
    assert len({one.label for one in ADAPTATIONS.values()}) == len(ADAPTATIONS)
    for one in ADAPTATIONS.values():
        payload = {"model": "m", "messages": [{"role": "user", "content": "x"}], "other": 1}
        before = dict(payload)
        one.apply(payload)
        assert payload == before


async def test_a_stream_that_has_begun_is_not_asked_for_again():
    late = stream_head() + delta("A fox") + event({"error": {"code": 400, "message": "Unsupported: 'max_tokens'"}})
    async with loopback(answer_with(late, close=True)) as server:
        events: list[Any] = []
        with pytest.raises(LLMProviderError):
            await collect(OpenAICompatibleProvider(server.url).stream(ask(max_tokens=5)), events)
        assert len(server.requests) == 1
