"""Answers and requests for the tests of adaptations."""

from __future__ import annotations

from typing import Any

from promptops.engine import (
    LLMRequest,
)
from tests.engine.helpers import (
    ask,
    completion,
    delta,
    event,
    http_answer,
    stream_head,
)


def good(sent: Any) -> bytes:
    """Return a good answer to the request `sent`, streamed if it asks for a stream."""
    if sent.get("stream"):
        return stream_head() + delta("A fox", "stop") + event("[DONE]")
    return http_answer(completion("A fox"))


def error(message: object, status: int = 400, **fields: object) -> bytes:
    """Return a refusal with an error object."""
    return http_answer({"error": {"message": message, "type": "invalid_request_error", **fields}}, status)


def full_request() -> LLMRequest:
    """Return a request with every part that can be adapted."""
    parameters = {"top_p": 0.9, "frequency_penalty": 0.1, "presence_penalty": 0.1, "seed": 7, "stop": ["x"]}
    return ask(
        max_tokens=64, temperature=0.7, timeout_ms=5000, reasoning_effort="low", json_mode=True, parameters=parameters
    )
