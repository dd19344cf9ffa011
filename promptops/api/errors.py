"""The problem that each exception becomes. The kinds of problems are in `problems`."""

import logging
import re
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import Error
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from promptops.api.problems import MEDIA_TYPE, Problem, later
from promptops.ledger.errors import Frozen, Refused, Stale
from promptops.platform import outages

log = logging.getLogger("promptops.api")

MOST_ERRORS = 20
FIELD_CHARACTERS = 60
HIDDEN_FIELD = "a field"
UNPRINTABLE = re.compile(r"[^A-Za-z0-9_.\[\]@-]|po_[A-Za-z0-9_-]{20,}")

# What the engine of validation says is good enough where this table has no better sentence.
SENTENCES = {
    "missing": "is missing.",
    "extra_forbidden": "is unknown. Remove it.",
    "string_type": "must be a text.",
    "int_type": "must be a whole number.",
    "int_parsing": "must be a whole number.",
    "int_from_float": "must be a whole number.",
    "float_type": "must be a number.",
    "float_parsing": "must be a number.",
    "bool_type": "must be true or false.",
    "bool_parsing": "must be true or false.",
    "list_type": "must be a list.",
    "dict_type": "must be an object.",
    "model_attributes_type": "must be an object.",
    "string_unicode": "contains a character that is no valid Unicode.",
    "string_too_long": "has more than {max_length} characters.",
    "string_too_short": "has fewer than {min_length} characters.",
    "too_long": "has more than {max_length} items.",
    "too_short": "has fewer than {min_length} items.",
    "greater_than": "must be greater than {gt}.",
    "greater_than_equal": "must be {ge} or more.",
    "less_than": "must be less than {lt}.",
    "less_than_equal": "must be {le} or less.",
    "string_pattern_mismatch": "has a character or a form that is not allowed here.",
    "json_invalid": "is no valid JSON.",
}


def problem_of(error: Exception) -> Problem:
    """Return the problem for an exception of a route. An unknown exception becomes an internal error."""
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return _of_fields([_field_error(each) for each in error.errors()])
        case ValidationError():
            return _of_fields(_validation_errors(error))
        case Stale():
            return Problem(409, "conflict", str(error))
        case Frozen():
            return Problem(423, "frozen", str(error))
        case Refused():
            return Problem(409, "refused", str(error))
        case HTTPException():
            return _of_status(error)
        case Error() if sentence := outages.sentence(error):
            log.warning("A request of a machine failed.", exc_info=error)
            return later("unavailable", sentence, outages.RETRY_SECONDS)
    return Problem(500, "internal", "PromptOps failed to answer. Give the request id to an administrator.")


def _of_status(error: HTTPException) -> Problem:
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return Problem(404, "not-found", "Nothing has this address. The API page lists all addresses.")
        case 405:
            return Problem(405, "method-not-allowed", "The address does not take this method.", headers=headers)
        case 413:
            return Problem(413, "too-large", "The request is too large.")
    return Problem(400, "malformed", "The request cannot be read. Send valid HTTP, and JSON in UTF-8.")


def _of_fields(errors: Sequence[tuple[str, str]]) -> Problem:
    listed = [{"field": field, "detail": sentence} for field, sentence in errors[:MOST_ERRORS]]
    return Problem(422, "invalid", listed[0]["detail"] if listed else "The request is invalid.", errors=listed)


def _field_error(error: Any) -> tuple[str, str]:
    """Return the name of a field and a sentence about it. What the client sent in it is left out."""
    location, *names = error["loc"] or ("body",)
    kind, facts = error["type"], error.get("ctx") or {}
    if kind == "json_invalid":
        return "body", "The body is no valid JSON."
    field = ".".join(str(name) for name in names) or str(location)
    field = HIDDEN_FIELD if UNPRINTABLE.search(field) else field[:FIELD_CHARACTERS]
    known = SENTENCES.get(kind)
    if kind == "value_error":  # a validator of ours, which writes whole sentences
        return field, str(facts.get("error", "")) or f"`{field}` is invalid."
    if known is None:
        return field, f"`{field}` is invalid: {_safe(error['msg'])}."
    return field, f"`{field}` {known.format(**facts)}"


def _safe(message: str) -> str:
    """Return the words of a message. It names what is expected, never what was sent."""
    return message.removesuffix(".")[:200].replace("Input should", "it should")


def _validation_errors(error: ValidationError) -> list[tuple[str, str]]:
    if hasattr(error, "error_dict"):
        named = error.message_dict.items()
        return [("body" if field == NON_FIELD_ERRORS else field, text) for field, texts in named for text in texts]
    return [("body", text) for text in error.messages]


def answer_of(problem: Problem) -> Response:
    """Return the problem as an answer."""
    return Response(problem.body, problem.status, problem.headers, media_type=MEDIA_TYPE)


def add_handlers(application: FastAPI) -> None:
    """Let the application answer every exception with a problem."""

    async def answered(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        if request.scope["path"].startswith("/v1"):
            problem.extra["error"] = problem.openai_error
        return answer_of(problem)

    for kind in (Problem, RequestValidationError, ValidationError, Refused, HTTPException, Error, Exception):
        application.add_exception_handler(kind, answered)
