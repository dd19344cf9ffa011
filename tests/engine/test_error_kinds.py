"""The kinds of providers' errors, by status, code and words, wherever these are in the body."""

from __future__ import annotations

import json
import time

import pytest

from promptops.engine import LLMResponse
from promptops.engine.providers.error_kinds import class_of_status
from promptops.engine.providers.reported import read_error
from tests.engine.helpers import BOTH, call_server, completion, event, failing, http_answer, stream_head


def refusal(message: object, status: int = 400, **fields: object) -> bytes:
    return http_answer({"error": {"message": message, **fields}}, status)


# Under HTTP 200


@BOTH
@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        ({"code": 400, "message": "the request exceeds the available context size"}, "context_length", False),
        ({"code": 429, "message": "Rate limit exceeded: free-models-per-day"}, "rate_limited", True),
        ({"code": 400, "message": "bad field"}, "bad_request", False),
        ({"code": "400", "message": "bad field"}, "bad_request", False),
        ({"code": 401, "message": "no such key"}, "auth", False),
        ({"code": 402, "message": "pay first"}, "quota", True),
        ({"code": 403, "message": "not for you"}, "auth", False),
        ({"code": 403, "message": "Your input was flagged"}, "refused", False),
        ({"code": 404, "message": "no such model"}, "not_found", False),
        ({"code": 408, "message": "too slow"}, "server", True),
        ({"code": 413, "message": "too much"}, "context_length", False),
        ({"code": 422, "message": "what?"}, "bad_request", False),
        ({"code": "429", "message": "slow down"}, "rate_limited", True),
        ({"code": 500, "message": "oops"}, "server", True),
        ({"code": 502, "message": "upstream"}, "server", True),
        ({"status_code": 429, "message": "slow down"}, "rate_limited", True),
        ({"status": "INVALID_ARGUMENT", "message": "what?"}, "bad_request", False),
        ({"status": "RESOURCE_EXHAUSTED", "message": "slow down"}, "rate_limited", True),
        ({"status": "UNAUTHENTICATED", "message": "who?"}, "auth", False),
        ({"status": "NOT_FOUND", "message": "no such model"}, "not_found", False),
        ({"status": "UNAVAILABLE", "message": "later"}, "server", True),
        ({"code": "rate_limit_exceeded", "message": "slow down"}, "rate_limited", True),
        ({"type": "rate_limit_error", "message": "slow down"}, "rate_limited", True),
        ({"type": "RateLimitError", "message": "slow down"}, "rate_limited", True),
        ({"code": "context_length_exceeded", "message": "no"}, "context_length", False),
        ({"type": "exceed_context_size_error", "message": "no"}, "context_length", False),
        ({"code": "invalid_api_key", "message": "no"}, "auth", False),
        ({"code": "model_not_found", "message": "no"}, "not_found", False),
        ({"code": "insufficient_quota", "message": "no"}, "quota", True),
        ({"code": "content_filter", "message": "no"}, "refused", True),
        ({"type": "overloaded_error", "message": "Overloaded"}, "server", True),
        ({"type": "invalid_request_error", "message": "what?"}, "bad_request", False),
        ({"message": "prompt is too long: 9120 tokens > 8192 maximum"}, "context_length", False),
        ({"message": "You exceeded your current quota"}, "quota", True),
        ({"message": "something broke"}, "server", True),
        ({"message": "something broke", "code": "x17"}, "server", True),
        ("overloaded", "server", True),
    ],
)
async def test_an_error_under_200_has_the_kind_of_its_code(error, kind, retryable, stream):
    says = stream_head() + event({"error": error}) + event("[DONE]") if stream else http_answer({"error": error})
    got = await failing(says, stream=stream)
    assert (got.kind, got.retryable, got.status) == (kind, retryable, None)


@BOTH
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"code": 429, "message": "slow down"}, "rate_limited"),
        ({"error": {"message": "died"}, "status_code": 429}, "rate_limited"),
        ({"error": "slow down", "code": 429}, "rate_limited"),
        ([{"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}], "rate_limited"),
        ({"errors": [{"code": 429, "message": "slow down"}], "success": False}, "rate_limited"),
        ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, "quota"),
        ({"choices": [{"message": None, "error": {"code": 429, "message": "slow down"}}]}, "rate_limited"),
        ({"x_groq": {"error": {"type": "rate_limit_exceeded", "message": "slow down"}}}, "rate_limited"),
    ],
)
async def test_an_error_is_found_wherever_it_is(body, kind, stream):
    says = stream_head() + event(body) + event("[DONE]") if stream else http_answer(body)
    assert (await failing(says, stream=stream)).kind == kind


@pytest.mark.parametrize(
    "error",
    [
        {"code": 0, "message": ""},
        {"message": None, "code": None},
        {"code": "0", "message": "success", "type": "none"},
        {"code": 200, "message": "OK"},
        {"details": [], "message": ""},
        {},
        [],
        [None],
        "",
        "null",
        False,
        0,
    ],
)
@BOTH
async def test_an_error_that_reports_none_spoils_no_answer(error, stream):
    says = http_answer(completion(error=error))
    if stream:
        choice = {"index": 0, "delta": {"content": "a red fox"}, "finish_reason": "stop"}
        says = stream_head() + event({"choices": [choice], "error": error})
    got, _ = await call_server(says, stream=stream)
    assert isinstance(got, LLMResponse), got
    assert got.content == "a red fox"


async def test_base_resp_of_a_good_answer_is_no_error():
    fine = completion(base_resp={"status_code": 0, "status_msg": ""})
    got, _ = await call_server(http_answer(fine), stream=False)
    assert isinstance(got, LLMResponse), got


# In lists and in texts

NESTED = {"error": {"message": "Model m supports at most 1 image.", "code": "x_images"}}


@BOTH
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            [{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}],
            "API key not valid",
        ),
        ({"error": {"message": json.dumps(NESTED), "code": 400}}, "supports at most 1 image"),
        ({"detail": f"Invalid request: {json.dumps(NESTED)}"}, "supports at most 1 image"),
        (
            {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": json.dumps(NESTED)}}},
            "Provider returned error: Model m supports at most 1 image. (x_images) (400)",
        ),
        (
            {"error": {"message": "Provider returned error", "metadata": {"raw": "m is at its limit upstream."}}},
            "Provider returned error: m is at its limit upstream.",
        ),
        ({"error": {"message": {"detail": "field x is odd"}, "code": 400}}, "field x is odd"),
        ({"error": {"message": 'Unexpected value {"a": 1} in x'}}, 'Unexpected value {"a": 1} in x'),
    ],
)
async def test_the_words_of_a_refusal_are_shown(body, words, stream):
    assert words in str(await failing(http_answer(body, 400), stream=stream))


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, json.dumps({"error": {"message": "no", "code": "context_length_exceeded"}}), "context_length"),
        (400, "litellm.BadRequestError: OpenAIException - " + json.dumps(NESTED), "bad_request"),
        (400, "Error code: 400 - {'error': {'message': 'no', 'code': 'context_length_exceeded'}}", "context_length"),
        (400, "Error code: 429 - {'error': {'message': 'no', 'type': 'insufficient_quota'}}", "quota"),
        (400, "[" * 3000, "bad_request"),
        (400, '{"a":' * 3000, "bad_request"),
    ],
)
async def test_codes_are_found_in_texts(status, message, kind):
    assert (await failing(refusal(message, status))).kind == kind


async def test_a_refusal_in_plain_text_is_read():
    says = http_answer("Prompt is too long: 9120 tokens", 400, "text/plain")
    assert (await failing(says)).kind == "context_length"


async def test_a_wrong_key_behind_a_400_is_one():
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
    error = {"message": "API key not valid.", "status": "INVALID_ARGUMENT", "details": details}
    got = await failing(http_answer({"error": error}, 400))
    assert (got.kind, got.status) == ("auth", 400)


# Too long

TOO_LONG = [
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",  # OpenAI
    "Your input exceeds the context window of this model. Please adjust your input and try again.",  # OpenAI
    "prompt is too long: 9120 tokens > 8192 maximum",  # Anthropic
    "input length and `max_tokens` exceed context limit: 9000 + 256 > 8192",  # Anthropic
    "Input is too long for requested model.",  # Bedrock
    "too many input tokens",  # Bedrock
    "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",  # Gemini
    "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",  # xAI
    "Please reduce the length of the messages or completion.",  # Groq, Cerebras
    "Please reduce the length of either one, or use a smaller model's limit for the prompt: reduce your prompt.",
    "This endpoint's maximum context length is 8192 tokens. However, you requested about 9310 tokens.",  # OpenRouter
    "the request exceeds the available context size, try increasing it",  # llama.cpp
    "The number of tokens to keep from the initial prompt is greater than the context length",  # LM Studio
    "Trying to keep the first 9120 tokens when context the overflows. However, the model is loaded with context length",
    "prompt token count of 9120 exceeds the limit of 8192",  # GitHub Copilot
    "invalid params, context window exceeds limit",  # MiniMax
    "Your request exceeded model token limit: 8192 (requested: 9120)",  # Kimi
    "Input length 9120 exceeds the maximum allowed input length of 8192 tokens.",  # SGLang
    "The input (9120 tokens) is longer than the model's context length (8192 tokens).",  # SGLang, Together
    "Prompt too long: 9120 tokens exceeds max_seq_len 8192",
    "Prompt contains 9120 tokens, too large for model with 8192 maximum context length",  # Mistral
    "The total length of all messages is too long.",  # Perplexity
    "too many tokens: size limit exceeded by 19296 tokens. Try using shorter or fewer inputs.",  # Cohere
    "Range of input length should be [1, 6000]",  # DashScope
    "Prompt has 9120 tokens, but the configured context size is 8192 tokens",
    "prompt too long; exceeded max context length by 928 tokens",  # Ollama
    "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 9120 `inputs` tokens and 256 `max_new_tokens`",
    "`inputs` must have less than 4095 tokens. Given: 9120",  # Text Generation Inference
    "Total tokens of image and text exceed max message tokens: tokens in request more than max tokens allowed",
    "This model supports at most 8192 input tokens.",
    "The decoder prompt (length 9120) is longer than the maximum model length of 8192.",  # vLLM
    "Prompt length 9120 exceeds max_model_len 8192",
    "Requested token count exceeds the model's maximum context length of 8192 tokens.",  # SGLang
    "token count exceeds the model's sequence length",
    "prompt exceeds the length limit",
    "输入内容过长，请减少输入",  # Z.AI and others
    "输入超过模型的上下文长度限制",
    "Prompt 超长",  # Z.AI
]


NOT_TOO_LONG = {
    "max_tokens is too large: 100000. This model supports at most 16384 completion tokens.": "bad_request",
    "max_tokens (9000) exceeds the maximum output tokens of 4096": "bad_request",
    "Range of max_tokens should be [1, 8192]": "bad_request",
    "max_tokens must be at least 1": "bad_request",
    "Rate limit reached for m on tokens per min (TPM): Limit 10000, Requested 12000. Too many tokens.": "bad_request",
    "Too many tokens, please wait before trying again.": "bad_request",
    "Unknown field context_length": "bad_request",
    "Unsupported parameter: 'context_length'": "bad_request",
    "'context_window' is not supported": "bad_request",
    "temperature exceeds the maximum of 2": "bad_request",
    "number of stop sequences exceeds the limit of 4": "bad_request",
    "The image is too large": "bad_request",
    "messages must not be empty": "bad_request",
    "The tool's description exceeds its maximum length of 1024": "bad_request",
    "user: String should have at most 64 characters": "bad_request",
    "The model `long-context-9` does not exist": "bad_request",
    "The API key is too long": "bad_request",
    "See https://example.test/errors/prompt-is-too-long-context-length": "bad_request",
    "It took too long to answer": "bad_request",
}


@pytest.mark.parametrize("message", TOO_LONG)
async def test_a_prompt_that_is_too_long_is_known(message):
    assert (await failing(refusal(message, type="invalid_request_error"))).kind == "context_length"


@pytest.mark.parametrize("message", NOT_TOO_LONG)
async def test_other_lengths_and_limits_are_not_the_prompt(message):
    assert (await failing(refusal(message, type="invalid_request_error"))).kind == NOT_TOO_LONG[message]


@pytest.mark.parametrize(
    "code", ["context_length_exceeded", "exceed_context_size_error", "model_context_window_exceeded", "prompt_too_long"]
)
@pytest.mark.parametrize("place", ["code", "type"])
async def test_a_code_for_too_long_needs_no_words(code, place):
    assert (await failing(refusal("no", **{place: code}))).kind == "context_length"


@pytest.mark.parametrize("status", [413, 429])
async def test_a_request_too_large_for_a_minute_is_a_rate_limit(status):
    message = "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 7000, please reduce"
    got = await failing(refusal(message, status, type="tokens", code="rate_limit_exceeded"))
    assert (got.kind, got.retryable) == ("rate_limited", True)


# Accounts without credit

SPENT = [
    (429, {"code": "insufficient_quota", "message": "no"}),
    (429, {"type": "insufficient_quota", "message": "You exceeded your current quota, please check your plan."}),
    (400, {"code": "billing_hard_limit_reached", "message": "no"}),
    (429, {"code": "billing_not_active", "message": "no"}),
    (403, {"type": "exceeded_current_quota_error", "message": "no"}),
    (403, {"code": "insufficient_user_quota", "message": "no"}),
    (400, {"code": "Arrearage", "message": "no"}),
    (403, {"code": "AccountOverdueError", "message": "no"}),
    (402, {"message": "This request requires more credits, or fewer max_tokens. You can only afford 61586."}),
    (402, {"message": "no"}),
    (400, {"message": "Your credit balance is too low to access the API. Please go to Plans & Billing."}),
    (400, {"message": "Insufficient Balance", "type": "unknown_error", "code": "invalid_request_error"}),
    (401, {"message": "Insufficient credits. Add more using https://example.test/credits"}),
    (403, {"message": "Your team has either used all available credits or reached its monthly spending limit."}),
    (400, {"message": "You have exceeded your monthly included credits for Inference Providers."}),
    (429, {"message": "Your prepayment credits are depleted."}),
    (429, {"message": "余额不足或无可用资源包,请充值。", "code": "1113"}),
    (500, {"message": "no", "code": "insufficient_quota"}),
]


@pytest.mark.parametrize(("status", "error"), SPENT)
async def test_spent_credit_is_known(status, error):
    got = await failing(http_answer({"error": error}, status))
    assert (got.kind, got.retryable, got.status) == ("quota", True, status)


@BOTH
@pytest.mark.parametrize(("status", "error"), [row for row in SPENT if row[1]["message"] != "no"])
async def test_spent_credit_is_known_under_200(status, error, stream):
    says = stream_head() + event({"error": error}) if stream else http_answer({"error": {"code": status, **error}})
    assert (await failing(says, stream=stream)).kind == "quota"


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (403, "Forbidden: billing access denied", "auth"),
        (401, "Invalid key. See https://example.test/account/billing/insufficient-credits", "auth"),
        (401, "Incorrect API key. You can find yours at https://example.test/insufficient_quota", "auth"),
        (403, "Insufficient permissions for this operation", "auth"),
        (403, "insufficient_scope", "auth"),
        (400, "The quota project is not set", "bad_request"),
        (400, "Unknown parameter: 'credits'", "bad_request"),
        (400, "balance must be a number", "bad_request"),
        (400, "quota", "bad_request"),
        (404, "The model `credit-balance-scorer` does not exist", "not_found"),
        (429, "Rate limit reached for requests. Upgrade your plan at https://example.test/billing", "rate_limited"),
        (429, "Quota exceeded for requests per minute", "rate_limited"),
        (429, "Too many requests, check your plan", "rate_limited"),
        (429, "You exceeded your current quota. Please retry in 21.12s.", "rate_limited"),
        (429, "Insufficient credits for this hour. Please try again in 7m12.5s", "rate_limited"),
        (503, "Insufficient system resources", "server"),
        (500, "billing service unavailable", "server"),
        (400, "Prompt rejected by the content filter: 'my credit balance is too low'", "refused"),
        (402, "Your prompt was flagged by moderation", "refused"),
        (400, "Insufficient tokens in the prompt", "bad_request"),
    ],
)
async def test_other_mentions_of_money_are_not_spent_credit(status, message, kind):
    assert (await failing(refusal(message, status))).kind == kind


async def test_a_429_that_names_a_time_is_a_rate_limit_whatever_its_words():
    head, body = refusal("You exceeded your current quota", 429, code="insufficient_quota").split(b"\r\n\r\n")
    got = await failing(head + b"\r\nRetry-After: 20\r\n\r\n" + body)
    assert (got.kind, got.retry_after_s) == ("rate_limited", 20)


async def test_an_echo_of_the_prompt_is_no_error_of_ours():
    """Pydantic repeats the request in `input`."""
    detail = [{"type": "missing", "loc": ["body", "x"], "msg": "Field required", "input": "insufficient credits"}]
    assert (await failing(http_answer({"detail": detail}, 422))).kind == "bad_request"


# Hostile bodies


@pytest.mark.parametrize(
    "text",
    [
        "prompt " * 200_000,
        "prompt exceed" * 100_000,
        "system role " * 100_000,
        "1h" * 300_000,
        "try again in 1 " * 80_000,
        "{" * 1_000_000,
        '{"message":' * 90_000,
        "insufficient " * 90_000,
        "context length unsupported context " * 30_000,
    ],
)
def test_a_hostile_error_takes_no_time(text):
    started = time.process_time()
    for data in ({"error": {"message": text}}, {"error": text}, {"detail": [{"msg": text}] * 2}, [{"error": text}]):
        error = read_error(data)
        assert error is not None
        class_of_status(400, error, names_time=False)
        class_of_status(429, error, names_time=False)
    assert time.process_time() - started < 0.5
