"""The meaning of a finish reason, in the spelling of any vendor. What follows from it does not belong here."""

from __future__ import annotations

import re
from functools import lru_cache

# Names as `normalized` makes them. Sources: the API references of OpenAI, Mistral (model_length), Anthropic
# (max_tokens, model_context_window_exceeded, refusal), Google (FinishReason), Cohere (ERROR, ERROR_LIMIT, ERROR_TOXIC),
# DeepSeek (insufficient_system_resource), Z.AI (sensitive, network_error), OpenRouter (error), vLLM and SGLang (abort),
# Bedrock (guardrail_intervened, content_filtered).
_CUT_OFF = frozenset(
    {
        "length",
        "max_length",
        "max_tokens",
        "max_output_tokens",
        "max_completion_tokens",
        "token_limit",
        "model_length",
        "context_length",
        "context_length_exceeded",
        "model_context_window_exceeded",
        "error_limit",
        "incomplete",
        "truncated",
    }
)
_BROKEN_OFF = frozenset(
    {
        "error",
        "abort",
        "aborted",
        "cancelled",
        "canceled",
        "failed",
        "interrupted",
        "timeout",
        "network_error",
        "server_error",
        "internal_error",
        "model_error",
        "engine_overloaded",
        "overloaded",
        "insufficient_system_resource",
        "insufficient_system_resources",
        "resource_exhausted",
        "rate_limit_exceeded",
    }
)
_FILTERED = frozenset(
    {
        "content_filter",
        "content_filtered",
        "content_policy",
        "content_policy_violation",
        "policy_violation",
        "filtered",
        "safety",
        "image_safety",
        "sensitive",
        "sensitive_content",
        "recitation",
        "image_recitation",
        "prohibited_content",
        "image_prohibited_content",
        "blocklist",
        "blocked",
        "spii",
        "moderation",
        "guardrail",
        "guardrails",
        "guardrail_intervened",
        "refusal",
        "refused",
        "error_toxic",
        "toxic",
    }
)
_NONE = frozenset({"", "null", "none", "unspecified", "finish_reason_unspecified"})

_MAX_CHARS = 100
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_OTHER = re.compile(r"[^A-Za-z0-9]+")


def normalized(name: str) -> str:
    """Return a vendor's name in one spelling: `contentFilter` and `CONTENT-FILTER` become `content_filter`."""
    return _normalized(name[:_MAX_CHARS])


@lru_cache(maxsize=256)
def _normalized(name: str) -> str:
    return _OTHER.sub("_", _CAMEL.sub("_", name)).strip("_").lower()


def given_reason(value: object) -> str | None:
    """Return a finish reason as the provider sent it, or `None` for one without meaning, such as the word "null"."""
    return value if isinstance(value, str) and normalized(value) not in _NONE else None


def is_cut_off(reason: str | None) -> bool:
    """Return whether the token limit or the context ended the answer."""
    return _name(reason) in _CUT_OFF


def is_broken_off(reason: str | None) -> bool:
    """Return whether the server stopped its answer because of an error."""
    return _name(reason) in _BROKEN_OFF


def is_filtered(reason: str | None) -> bool:
    """Return whether a content filter stopped the answer."""
    return _name(reason) in _FILTERED


def _name(reason: str | None) -> str:
    return _read_name(reason[:_MAX_CHARS]) if reason else ""


@lru_cache(maxsize=256)
def _read_name(reason: str) -> str:
    name = reason.partition(":")[0]  # Gemini: "content_filter: PROHIBITED_CONTENT"
    return normalized(name.rpartition(".")[2]).removeprefix("finish_reason_")
