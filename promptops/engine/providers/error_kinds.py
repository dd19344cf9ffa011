"""Choose the class of `LLMProviderError` for a reported error, from its status, its codes and its words.

A code decides first, then a whole phrase. A single word or a URL proves nothing: it may be an echo of the prompt, the
name of a model, or advice. The consequences of an error are in `promptops/engine/policies.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from promptops.engine.errors import (
    LLMAuthError,
    LLMBadRequestError,
    LLMContextLengthError,
    LLMContractError,
    LLMMalformedError,
    LLMNotFoundError,
    LLMProviderError,
    LLMQuotaError,
    LLMRateLimitedError,
    LLMRefusedError,
    LLMServerError,
)
from promptops.engine.providers.reported import ReportedError

ErrorClass = Callable[..., LLMProviderError]

# Codes are in the spelling of `ReportedError.codes`: lower case, underscores, no ending `_error`.

_CONTENT_CODES = frozenset(
    {
        "content_filter",
        "content_policy",
        "content_policy_violation",
        "content_moderation",
        "data_inspection_failed",  # DashScope
        "input_moderation",
        "moderation",
        "moderation_blocked",  # OpenAI
        "output_moderation",
        "prohibited_content",
        "responsible_ai_policy_violation",  # Azure
        "safety",
        "sensitive_content",
    }
)
_CONTENT_WORDS = re.compile(
    r"content[ _](?:policy|filter|management policy)|moderation|safety (?:system|filter|settings|reasons)"
    r"|inappropriate content|content exists risk|considered high risk|(?:^|\n)(?:prompt|input|content) flagged\b"
    r"|(?:prompt|input|content|message|output|response)\b[^.\n]{0,40}\b(?:was|were|been) flagged"
    r"|(?:prompt|input|content|message|output|response)\b[^.\n]{0,60}\bviolat(?:es?|ed|ing|ion)\b|敏感内容|不安全或敏感"
)

_QUOTA_CODES = frozenset(
    {
        "account_overdue",  # Volcengine: AccountOverdueError
        "arrearage",  # DashScope
        "billing",  # Anthropic: billing_error, with 402
        "billing_hard_limit_reached",  # OpenAI
        "billing_not_active",  # OpenAI
        "budget_exceeded",  # LiteLLM
        "credit_balance_exhausted",  # OpenAI
        "credit_balance_too_low",
        "exceeded_current_quota",  # Moonshot: exceeded_current_quota_error
        "insufficient_balance",
        "insufficient_credit",
        "insufficient_credits",
        "insufficient_funds",
        "insufficient_quota",  # OpenAI, and most that copy its codes
        "insufficient_user_quota",  # One API
        "not_enough_credits",
        "organization_spend_limit_exceeded",  # OpenAI
        "organization_usage_limit_exceeded",  # OpenAI
        "out_of_credits",
        "payment_required",
        "pre_consume_token_quota_failed",  # One API
        "project_spend_limit_exceeded",  # OpenAI
    }
)
_QUOTA_WORDS = re.compile(
    "|".join(
        [
            r"exceeded your current quota",  # OpenAI, Gemini, Moonshot
            r"exceeded your (?:monthly )?included credits",  # Hugging Face
            r"depleted your (?:monthly )?(?:included |prepaid )?credits",  # Hugging Face
            r"credit balance is too low",  # Anthropic
            r"insufficient (?:account |usd or diem )?(?:balance|credits?|funds|quota)\b",  # DeepSeek, Venice
            r"(?:balance|credits?|quota) (?:is|are) (?:insufficient|not sufficient|not enough|too low)\b",
            r"(?:balance|credits?) (?:is|are|have been) (?:exhausted|depleted|used up)\b",  # Gemini's prepaid credits
            r"requires more credits",  # OpenRouter
            r"(?:does not|doesn't) have any credits",  # xAI
            r"used up your daily free allocation",  # Cloudflare
            r"failure to pay (?:past )?invoices",  # Fireworks
            r"not enough credits?\b",
            r"(?:run|ran) out of credits?\b",
            r"\bout of credits?\b",
            r"no credits? (?:left|remaining)",
            r"used all (?:of )?(?:its |your )?available credits",  # xAI
            r"reach(?:ed|ing) (?:its|your|the) (?:monthly )?spend(?:ing)? limit",  # xAI
            r"reached your specified api usage limits",  # Anthropic
            r"key limit exceeded \(",  # OpenRouter
            r"budget has been exceeded|exceededbudget",  # LiteLLM
            r"billing hard limit has been reached",  # OpenAI
            r"account is not active, please check your billing",  # OpenAI
            r"make sure your account is in good standing",  # DashScope
            r"account (?:is in arrears|has an overdue balance)",  # DashScope, Volcengine
            r"余额不足|余额已用尽|账[户号](?:已)?欠费|额度不足|额度已用[完尽]",  # Z.AI, One API
        ]
    )
)

_CONTEXT_CODES = frozenset(
    {
        "context_length_exceeded",  # OpenAI, Groq, Cerebras
        "context_limit_exceeded",
        "context_size_exceeded",
        "context_window_exceeded",
        "exceed_context_size",  # llama.cpp: exceed_context_size_error
        "input_too_long",
        "max_tokens_per_request_exceeded",
        "model_context_window_exceeded",  # Z.AI
        "prompt_too_long",
        "request_too_large",  # Anthropic, with 413
        "string_above_max_length",  # OpenAI
    }
)
_INPUT = r"(?:prompts?|inputs?|messages|conversation|request)\b"
_LONGER = r"(?:exceed(?:s|ed|ing)?|(?:longer|greater|larger|more) than)\b"
_CONTEXT_WORDS = re.compile(
    "|".join(
        [
            r"context[ _-]?(?:length|size|window|limit)",  # most of them
            r"context overflow",
            _INPUT + r"[^.\n]{0,40}\btoo (?:long|large)\b",  # Anthropic, Bedrock, Perplexity, Ollama
            _INPUT + r"[^\n]{0,100}\b" + _LONGER + r"[^\n]{0,80}(?:tokens?\b|length|max_|n_ctx|\blimit of \d)",
            r"\btokens?\b[^.\n]{0,60}\b" + _LONGER + r"[^.\n]{0,60}\b(?:sequence|model|context|input|prompt)\b",
            r"max(?:imum)?[ _](?:prompt|input|model|sequence|seq|position)[ _](?:length|len|tokens)\b",  # xAI, vLLM
            r"max(?:imum)? allowed input",  # SGLang
            r"too many (?:input |prompt )?tokens(?! per)",  # Cohere, Bedrock
            r"(?:reduce|shorten) (?:the |your )?(?:length of )?(?:the |your )?(?:messages|prompt|inputs?)\b",  # Groq
            r"exceed(?:s|ed)? (?:the )?model(?:'s)? token limit",  # Kimi
            r"prompt exceeds the length limit",
            r"max_tokens must be at least 1, got -\d\d",  # vLLM: the prompt is longer than the context
            r"range of input length should be",  # DashScope
            r"tokens in request more than max tokens",
            r"`inputs`[^\n]{0,60}(?:must be <=|must have less than)",  # Text Generation Inference
            r"supports? (?:at most |up to |only )?\d+ (?:input|prompt|context) tokens",
            r"上下文(?:长度|窗口)|输入(?:内容)?(?:过长|超长|长度超)|提示词?过长|prompt ?超长",  # Z.AI and others
            r"コンテキスト長",
        ]
    )
)
_NO_CONTEXT_WORDS = re.compile(
    r"rate[ _-]?limit|too many requests|throttl|please wait|tokens? per (?:second|min|hour|day)|\b(?:tpm|tpd|rpm)\b"
    r"|(?:unsupported|unknown|unrecognized|unexpected)\b[^.\n]{0,30}\bcontext[ _-]"
    r"|context[ _-]\w+['\"`]? (?:is|are) (?:not supported|unsupported|not permitted|not recognized)"
)

_RATE_CODES = frozenset(
    {
        "rate_limit",
        "rate_limit_exceeded",
        "rate_limited",
        "requests_limit_exceeded",
        "resource_exhausted",  # Google
        "throttling",
        "throttling_rate_quota",  # DashScope
        "tokens_limit_exceeded",
        "too_many_requests",
    }
)
_STATUS_OF_CODES = {
    **dict.fromkeys(_RATE_CODES, 429),
    **dict.fromkeys(
        ("api_key_invalid", "authentication", "invalid_api_key", "invalid_authentication", "unauthenticated"), 401
    ),
    "unauthorized": 401,
    "incorrect_api_key": 401,
    **dict.fromkeys(("permission_denied", "permission", "forbidden", "access_denied", "account_deactivated"), 403),
    **dict.fromkeys(("not_found", "model_not_found", "invalid_model", "model_not_exist", "model_decommissioned"), 404),
    **dict.fromkeys(("request_timeout", "timeout", "deadline_exceeded"), 408),
    **dict.fromkeys(
        ("bad_request", "invalid_request", "invalid_argument", "failed_precondition", "invalid_parameter"), 400
    ),
    **dict.fromkeys(("unsupported_parameter", "unsupported_value", "unknown_parameter", "validation"), 400),
    **dict.fromkeys(("internal", "internal_server", "server", "api", "bad_gateway"), 500),
    **dict.fromkeys(("overloaded", "unavailable", "service_unavailable", "engine_overloaded"), 503),
}
"""The HTTP statuses of codes that are words: OpenAI's and Anthropic's error types, Google's canonical codes."""

_WRONG_KEY_WORDS = re.compile(
    r"\b(?:incorrect|invalid|wrong|expired) api[ _-]?key\b"
    r"|\bapi[ _-]?key (?:is )?(?:not valid|invalid|expired)\b"
)

_MISSING_MODEL_WORDS = re.compile(r"\bis not a valid model id\b|\bno models loaded\b")  # OpenRouter, LM Studio

_INVALID_JSON_CODES = frozenset({"json_validate_failed"})
"""Groq answers with 400 if its model wrote invalid JSON in JSON mode."""

_REFINED = frozenset({401, 404, 429})
"""The statuses that the code of a 400 or 422 may change it to: Gemini answers a wrong key with 400."""


def is_content_refusal(error: ReportedError) -> bool:
    """Return whether an error refuses the content of the request or of the answer."""
    return _has_code(error, _CONTENT_CODES) or _CONTENT_WORDS.search(error.words) is not None


def is_quota(error: ReportedError) -> bool:
    """Return whether an error says that the account has no credit left."""
    return _has_code(error, _QUOTA_CODES) or _QUOTA_WORDS.search(error.words) is not None


def is_too_long(error: ReportedError) -> bool:
    """Return whether an error says that the prompt is longer than the model's context."""
    if _has_code(error, _CONTEXT_CODES):
        return True
    return _CONTEXT_WORDS.search(error.words) is not None and _NO_CONTEXT_WORDS.search(error.words) is None


def class_of_status(status: int, error: ReportedError | None, *, names_time: bool) -> ErrorClass:
    """Return the class of error for an HTTP status that means failure.

    `names_time` says that the provider named a time for a retry. Then a 429 is a rate limit, whatever its words.
    """
    if error is None:
        return _class_by_number(status)
    if status == 429:
        if not names_time and _has_code(error, _CONTENT_CODES):
            return LLMRefusedError
        return LLMQuotaError if not names_time and is_quota(error) else LLMRateLimitedError
    if status >= 500 or status in (404, 408, 425, 498):
        return LLMQuotaError if _has_code(error, _QUOTA_CODES) and status >= 500 else _class_by_number(status)
    if status < 400:
        return LLMMalformedError
    if is_content_refusal(error):  # OpenRouter refuses content with 403
        return LLMRefusedError
    if status == 402 or is_quota(error):
        return LLMQuotaError
    return _class_of_request(status, error)


def error_of_report(error: ReportedError, message: str, *, names_time: bool) -> LLMProviderError:
    """Return the error, with `message`, for an error that was reported under HTTP 200.

    Its code has the same consequences as an HTTP status. Without a code its words decide. If they decide nothing, it is
    a server error.
    """
    status = error.status or next((_STATUS_OF_CODES[code] for code in error.codes if code in _STATUS_OF_CODES), None)
    if is_content_refusal(error) and status != 429:
        return LLMRefusedError(message, retryable=status is None)
    if status is not None:
        return class_of_status(status, error, names_time=names_time)(message)
    if is_quota(error):
        return LLMQuotaError(message)
    return LLMContextLengthError(message) if is_too_long(error) else LLMServerError(message)


def _class_of_request(status: int, error: ReportedError) -> ErrorClass:
    """Return the class for a 4xx about the request or the key."""
    if status in (401, 403):
        return LLMAuthError
    if status == 413 and (_has_code(error, _RATE_CODES) or _NO_CONTEXT_WORDS.search(error.words)):
        return LLMRateLimitedError  # Groq: more tokens than the limit of a minute allows
    if status == 413 or is_too_long(error):
        return LLMContextLengthError
    if status in (400, 422):
        if _has_code(error, _INVALID_JSON_CODES):
            return LLMContractError
        if _WRONG_KEY_WORDS.search(error.words):  # xAI
            return LLMAuthError
        if _MISSING_MODEL_WORDS.search(error.words):
            return LLMNotFoundError
        named = (_STATUS_OF_CODES.get(code) for code in error.codes)
        return _class_by_number(next((refined for refined in named if refined in _REFINED), status))
    return LLMBadRequestError


def _class_by_number(status: int) -> ErrorClass:
    if status >= 500 or status in (408, 425, 498):
        return LLMServerError
    named: dict[int, ErrorClass] = {
        401: LLMAuthError,
        402: LLMQuotaError,
        403: LLMAuthError,
        404: LLMNotFoundError,
        413: LLMContextLengthError,
        429: LLMRateLimitedError,
    }
    return named.get(status, LLMBadRequestError if status >= 400 else LLMMalformedError)


def _has_code(error: ReportedError, codes: frozenset[str]) -> bool:
    return not codes.isdisjoint(error.codes)
