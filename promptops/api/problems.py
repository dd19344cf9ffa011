"""Problems: every error of the machine interface, as RFC 9457 describes. One table has their stable names.

The `detail` of a problem is the sentence that a page would show. No problem repeats what the client sent, except the
names of fields.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from promptops.platform.requests import facts

ADDRESS = "/api/v1/problems"
OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
"""The types of errors in OpenAI's protocol, by status. Others are invalid requests, or errors of the server."""
MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class ProblemType:
    """A kind of problem. Clients may rely on its name."""

    name: str
    status: int
    title: str
    when: str
    """The case in which a client gets it. The API page and docs/api.md show it."""

    @property
    def uri(self) -> str:
        """Return the `type` of a problem document."""
        return f"{ADDRESS}#{self.name}"


TYPES = {
    each.name: each
    for each in (
        ProblemType("malformed", 400, "Malformed request", "the request is no valid HTTP or JSON"),
        ProblemType("token-missing", 401, "Token missing", "the header `Authorization: Bearer po_...` is missing"),
        ProblemType("token-invalid", 401, "Token invalid", "the token is unknown, expired or revoked"),
        ProblemType("scope-missing", 403, "Scope missing", "the token lacks the scope that the route needs"),
        ProblemType("server-mismatch", 403, "Another server", "the token belongs to a server of another name"),
        ProblemType("not-found", 404, "Not found", "the address or the object does not exist"),
        ProblemType("model-missing", 404, "Model file missing", "the file of a safety model is missing or damaged"),
        ProblemType("method-not-allowed", 405, "Method not allowed", "the address does not take this method"),
        ProblemType("not-acceptable", 406, "Not acceptable", "the route has no answer of a type that `Accept` names"),
        ProblemType("refused", 409, "Refused", "the change cannot be made; the detail says why and what to do"),
        ProblemType("conflict", 409, "Changed meanwhile", "another version than `expected` is live"),
        ProblemType("session-ended", 410, "Session ended", "the session is unknown or has ended; begin a new one"),
        ProblemType("stale", 412, "Changed meanwhile", "another version than that of `If-Match` is live"),
        ProblemType("frozen", 423, "Releases are frozen", "a person froze releases; the detail says who, until when"),
        ProblemType("too-large", 413, "Request too large", "the body is larger than the server takes"),
        ProblemType("unsupported-media-type", 415, "Unsupported media type", "the body is not `application/json`"),
        ProblemType("invalid", 422, "Invalid request", "a field or parameter is missing or invalid; `errors` names it"),
        ProblemType(
            "blocked", 422, "Text blocked", "the safety filter withholds the input or the answer; see `safety`"
        ),
        ProblemType("key-reused", 422, "Key reused", "the `Idempotency-Key` came with another request before"),
        ProblemType("expected-missing", 428, "Expected version missing", "neither `If-Match` nor `expected` was sent"),
        ProblemType("rate-limited", 429, "Too many requests", "the token has used up its quota; see `Retry-After`"),
        ProblemType("internal", 500, "Internal error", "PromptOps failed; its log has the request id"),
        ProblemType("unanswered", 502, "No answer", "no provider answered; `run` has the attempts"),
        ProblemType("keep-running", 502, "Keep what runs", "no provider answered, and the stream keeps what runs"),
        ProblemType("busy", 503, "Busy", "too many requests are in progress or wait; see `Retry-After`"),
        ProblemType("unavailable", 503, "Database unavailable", "the database cannot be used now; see `Retry-After`"),
        ProblemType("stopping", 503, "Server stopping", "the process is stopping; ask again, another one answers"),
    )
}
"""All kinds of problems, by name."""


class Problem(Exception):
    """An error answer. `type` is a name of TYPES, `extra` further members of the document."""

    def __init__(
        self, status: int, type: str, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(detail)
        if TYPES[type].status != status:
            raise ValueError(f"{type} has the status {TYPES[type].status}, not {status}.")
        self.status, self.type, self.detail = status, TYPES[type], detail
        self.headers, self.extra = dict(headers or {}), extra

    @property
    def document(self) -> dict[str, Any]:
        """Return the problem as RFC 9457 describes."""
        members = {"type": self.type.uri, "title": self.type.title, "status": self.status, "detail": self.detail}
        return members | {"request_id": facts().id} | self.extra

    @property
    def openai_error(self) -> dict[str, Any]:
        """Return the problem as an error of OpenAI's protocol."""
        kind = OPENAI_TYPES.get(
            self.type.status, "server_error" if self.type.status >= 500 else "invalid_request_error"
        )
        fields = [each["field"] for each in self.extra.get("errors", ())]
        param = self.extra.get("param") or (fields[0] if fields else None)
        return {"message": self.detail, "type": kind, "param": param, "code": self.type.name}

    @property
    def body(self) -> bytes:
        """Return the document as JSON."""
        return json.dumps(self.document, ensure_ascii=True).encode()


def later(type: str, detail: str, seconds: int) -> Problem:
    """Return a problem that ends after about this number of seconds."""
    return Problem(TYPES[type].status, type, detail, headers={"Retry-After": str(max(1, seconds))})
