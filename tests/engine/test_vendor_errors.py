"""Error bodies of vendors from public bug reports, and their kinds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from promptops.engine import LLMProviderError, LLMResponse
from promptops.engine.providers.reported import read_error
from promptops.engine.rate_limits import reported_cooldown_seconds
from tests.engine.helpers import call_server, completion, delta, event, http_answer, stream_head


def error(message: str, **fields: object) -> dict[str, Any]:
    return {"error": {"message": message, **fields}}


def minimax(number: int, message: str) -> dict[str, Any]:
    return {"base_resp": {"status_code": number, "status_msg": message}, "choices": None}


FILTERED = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
SPENT = "Your team has either used all available credits or reached its monthly spending limit."
TOO_LONG = "This endpoint's maximum context length is 8192 tokens. However, you requested about 9000 tokens"

BODIES: list[tuple[str, int, Any, str]] = [
    ("xAI", 429, {"code": "Some resource has been exhausted", "error": SPENT}, "quota"),
    (
        "xAI",
        403,
        {"code": "No permission", "error": "Your new team doesn't have any credits or licenses yet."},
        "quota",
    ),
    ("xAI", 400, {"code": "Invalid argument", "error": "Incorrect API key provided: xa***ab."}, "auth"),
    ("xAI", 403, {"code": "x", "error": "Content violates usage guidelines. Failed check: SAFETY_CHECK"}, "refused"),
    ("Anthropic", 400, {"type": "error", "error": {"type": "billing_error", "message": "no"}}, "quota"),
    (
        "Anthropic",
        400,
        error("You have reached your specified API usage limits.", type="invalid_request_error"),
        "quota",
    ),
    ("Anthropic", 529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "server"),
    ("Moonshot", 429, error("Suspended: insufficient balance", type="exceeded_current_quota_error"), "quota"),
    ("Moonshot", 400, error("The request was rejected because it was considered high risk"), "refused"),
    ("DeepSeek", 402, error("Insufficient Balance", code="invalid_request_error"), "quota"),
    ("DeepSeek", 400, error("Content Exists Risk", code="invalid_request_error"), "refused"),
    ("Z.AI", 429, error("no", code="1113"), "quota"),
    ("Z.AI", 400, error("no", code="1301"), "refused"),
    ("Z.AI", 400, error("no", code="1261"), "context_length"),
    ("Z.AI", 429, error("no", code="1302"), "rate_limited"),
    ("MiniMax", 200, minimax(1001, "no"), "server"),
    ("MiniMax", 200, minimax(1002, "no"), "rate_limited"),
    ("MiniMax", 200, minimax(1004, "no"), "auth"),
    ("MiniMax", 200, minimax(1008, "no"), "quota"),
    ("MiniMax", 200, minimax(1026, "no"), "refused"),
    ("MiniMax", 200, minimax(2013, "no"), "bad_request"),
    ("SiliconFlow", 403, {"code": 30001, "message": "Sorry, your account balance is insufficient"}, "quota"),
    ("Fireworks", 412, error("Account is suspended, possibly due to failure to pay past invoices."), "quota"),
    (
        "Cloudflare",
        429,
        {"errors": [{"message": "You have used up your daily free allocation", "code": 4006}]},
        "quota",
    ),
    ("Cloudflare", 429, {"errors": [{"message": "AiError: Rate limited", "code": 3040}]}, "rate_limited"),
    ("OpenRouter", 403, error("Key limit exceeded (total limit).", code=403), "quota"),
    ("OpenRouter", 403, error("Input flagged", code=403, metadata={"reasons": ["violence"]}), "refused"),
    (
        "OpenRouter",
        400,
        error("Provider returned error", metadata={"raw": json.dumps(error(TOO_LONG))}),
        "context_length",
    ),
    ("OpenRouter", 400, error("x/y is not a valid model ID", code=400), "not_found"),
    ("LiteLLM", 400, error("Budget has been exceeded! Max budget: 10.0", type="budget_exceeded", code="400"), "quota"),
    ("LiteLLM", 400, error(f"litellm.ContentPolicyViolationError: AzureException - {FILTERED}", code="400"), "refused"),
    ("Azure", 400, error("no", code="content_filter", innererror={"code": "x"}), "refused"),
    ("Azure", 404, error("The API deployment does not exist.", code="DeploymentNotFound"), "not_found"),
    ("Groq", 400, error("The model `m` has been decommissioned.", code="model_decommissioned"), "not_found"),
    ("Mistral", 429, {"object": "error", "message": "Service tier capacity exceeded.", "code": "3505"}, "rate_limited"),
    ("Cerebras", 429, {"message": "High traffic.", "type": "too_many_requests_error", "code": "x"}, "rate_limited"),
    ("vLLM", 400, error("max_tokens must be at least 1, got -928.", type="BadRequestError"), "context_length"),
    ("LM Studio", 400, error("No models loaded. Please load a model in the developer page."), "not_found"),
    ("llama.cpp", 503, error("Loading model", type="unavailable_error", code=503), "server"),
    # errors of other kinds with similar words
    ("Moonshot", 400, error("The scene of a risk exists in content"), "bad_request"),
    ("any", 400, error("no", code=1113), "bad_request"),
    ("any", 400, error("no", code="1008"), "bad_request"),
    ("any", 400, {"status_code": 1008, "message": "no"}, "bad_request"),
    ("any", 400, error("max_tokens must be at least 1, got -1."), "bad_request"),
    ("any", 400, error("The API key parameter is not a text"), "bad_request"),
    ("any", 400, error("flagged is no known field"), "bad_request"),
    ("any", 400, error("the field input flagged is unknown"), "bad_request"),
    ("any", 429, error("API key limit exceeded"), "rate_limited"),
    ("any", 403, error("You do not have permission to see credits"), "auth"),
    ("any", 400, error("'budget' must be a number"), "bad_request"),
    ("any", 400, error("No models match the pattern"), "bad_request"),
]


@pytest.mark.parametrize(("status", "body", "kind"), [row[1:] for row in BODIES])
async def test_the_error_of_a_vendor_is_understood(status, body, kind):
    got, _ = await call_server(http_answer(body, status), stream=False)
    assert isinstance(got, LLMProviderError), got
    assert got.kind == kind


def test_a_time_beside_the_error_counts():
    reported = read_error({"error": "rate limited", "retry_after": 12})
    assert reported is not None
    assert reported_cooldown_seconds(reported.objects, reported.words, {}) == 12


async def test_a_finish_reason_with_its_cause_is_a_filter():
    got, _ = await call_server(http_answer(completion(None, "content_filter: PROHIBITED_CONTENT")), stream=False)
    assert isinstance(got, LLMProviderError)
    assert got.kind == "refused"


async def test_llama_cpp_reports_an_error_within_its_stream():
    failed = b'error: {"code": 400, "message": "the request exceeds the available context size"}\n\n'
    got, _ = await call_server(stream_head() + delta("A ") + failed, stream=True)
    assert isinstance(got, LLMProviderError)
    assert got.kind == "context_length"


async def test_a_line_with_error_that_is_no_object_is_no_event():
    got, _ = await call_server(
        stream_head() + b"error: none\n\n" + delta("A fox", "stop") + event("[DONE]"), stream=True
    )
    assert isinstance(got, LLMResponse), got
    assert got.content == "A fox"
