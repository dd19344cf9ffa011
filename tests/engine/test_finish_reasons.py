"""Finish reasons in the spelling of any vendor."""

from __future__ import annotations

import pytest

from promptops.engine import LLMResponse
from tests.engine.helpers import BOTH, call_server, completion, event, failing, http_answer, stream_head


@BOTH
@pytest.mark.parametrize(
    "reason",
    ["length", "model_length", "model_context_window_exceeded", "MAX_TOKENS", "max_output_tokens", "maxTokens"],
)
async def test_a_cut_answer_says_so(reason, stream):
    got, _ = await call_server(answered("A red fox runs through the", reason, stream), stream=stream)
    assert isinstance(got, LLMResponse), got
    assert (got.truncated, got.finish_reason) == (True, reason)
    none = await failing(answered("", reason, stream), stream=stream)
    assert none.kind == "truncated"


@BOTH
@pytest.mark.parametrize(
    "reason", ["error", "abort", "ERROR", "insufficient_system_resource", "network_error", "FinishReason.TIMEOUT"]
)
async def test_an_answer_that_the_server_gave_up_is_no_success(reason, stream):
    got = await failing(answered("A red fox runs through the", reason, stream), stream=stream)
    assert (got.kind, got.retryable) == ("server", True)


@BOTH
@pytest.mark.parametrize(
    "reason",
    [
        "content_filter",
        "content-filter",
        "contentFilter",
        "SAFETY",
        "FINISH_REASON_SAFETY",
        "sensitive",
        "RECITATION",
        "PROHIBITED_CONTENT",
        "BLOCKLIST",
        "SPII",
        "refusal",
        "guardrail_intervened",
        "ERROR_TOXIC",
    ],
)
@pytest.mark.parametrize("text", ["", "A red fox"])
async def test_an_answer_that_a_filter_stopped_is_a_refusal(reason, text, stream):
    got = await failing(answered(text, reason, stream), stream=stream)
    assert (got.kind, got.retryable) == ("refused", not text)


@pytest.mark.parametrize("reason", ["stop", "STOP", "eos", "end_turn", "tool_calls", "stop_sequence", "COMPLETE", None])
async def test_other_finish_reasons_are_a_success(reason):
    got, _ = await call_server(answered("A red fox", reason, stream=False), stream=False)
    assert isinstance(got, LLMResponse), got
    assert (got.truncated, got.finish_reason) == (False, reason)


def answered(text: str, reason: str | None, stream: bool) -> bytes:
    if not stream:
        return http_answer(completion(text, reason))
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
    return stream_head() + event({"choices": [choice]}) + event("[DONE]")
