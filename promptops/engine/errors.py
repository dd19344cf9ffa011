"""The engine's errors.

    RuntimeError
    └── LLMProviderError            kind "provider"        retryable by default
        ├── LLMTimeoutError         kind "timeout"         always retryable
        ├── LLMTransportError       kind "transport"       no connection, or it broke
        ├── LLMRateLimitedError     kind "rate_limited"    429
        ├── LLMQuotaError           kind "quota"           no credit left: 402, or an error that says so
        ├── LLMServerError          kind "server"          5xx, 408, 425, 498, or an error under HTTP 200 without a code
        ├── LLMMalformedError       kind "malformed"       an answer that cannot be read
        ├── LLMContractError        kind "contract"        an answer that breaks the request's contract
        ├── LLMEmptyError           kind "empty"           an answer without text
        │   └── LLMTruncatedError   kind "truncated"       the token limit was used up before any text
        ├── LLMUnavailableError     kind "unavailable"     the embedded model cannot run here
        ├── LLMUnexpectedError      kind "unexpected"      a provider raised something else; see its cause
        ├── LLMBusyError            kind "busy"            every provider is at its limit or cools down
        ├── LLMAuthError            kind "auth"            401, 403; not retryable
        ├── LLMMissingKeyError      kind "missing_key"     no key to send; not retryable
        ├── LLMNotFoundError        kind "not_found"       404: wrong address or model; not retryable
        ├── LLMContextLengthError   kind "context_length"  the prompt does not fit; not retryable
        ├── LLMRefusedError         kind "refused"         refused for its content; retryable only as a 200 without text
        ├── LLMBadRequestError      kind "bad_request"     any other 4xx; not retryable
        └── LLMInterruptedError     kind "interrupted"     the answer broke off after its first text; not retryable

A message names the provider and the HTTP status, if there is one. It never contains a key. `policies.py` declares what
follows each kind.
"""

from __future__ import annotations

from typing import ClassVar

from promptops.engine.types import Attempt, Usage


class LLMProviderError(RuntimeError):
    """A provider gave no usable answer.

    `retryable` says whether the next provider may be called, `kind` is the error's short name, `status` the HTTP
    status that caused it, if any. `retry_after_s` is the time in seconds for which the provider wants no requests,
    `usage` the tokens that it counted; both are `None` if the provider named none. The error that ends a run has every
    attempt of the run in `attempts`.
    """

    kind: ClassVar[str] = "provider"

    def __init__(self, message: str, *, retryable: bool = True, status: int | None = None) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.status = status
        self.retry_after_s: float | None = None
        self.usage: Usage | None = None
        self.attempts: tuple[Attempt, ...] = ()


class LLMTimeoutError(LLMProviderError):
    """No answer within the time allowed."""

    kind = "timeout"

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message, retryable=True, status=status)


class LLMTransportError(LLMProviderError):
    """The connection could not be made, or it broke."""

    kind = "transport"


class LLMRateLimitedError(LLMProviderError):
    """The provider refuses more requests for now (429, or a code for it)."""

    kind = "rate_limited"


class LLMQuotaError(LLMProviderError):
    """The account at the provider has no credit left (402, or an error that says so)."""

    kind = "quota"


class LLMServerError(LLMProviderError):
    """The provider is in trouble: 5xx, 408, 425, 498, or an error under HTTP 200 without a reason."""

    kind = "server"


class LLMMalformedError(LLMProviderError):
    """The answer is not JSON, has another shape, or is far too long."""

    kind = "malformed"


class LLMContractError(LLMProviderError):
    """The answer breaks the request's contract.

    The message says what is wrong, in one sentence that quotes little of the answer. `problems` has this sentence and
    those of other problems, without the provider's name. `answer` is the answer as the model wrote it ("" if the
    provider did not send it), `truncated` says that it was cut off at the token limit. A repair needs all three.
    """

    kind = "contract"
    problems: tuple[str, ...] = ()
    answer: str = ""
    truncated: bool = False


class LLMEmptyError(LLMProviderError):
    """The answer has no text."""

    kind = "empty"


class LLMTruncatedError(LLMEmptyError):
    """The token limit was used up before any text, usually by reasoning."""

    kind = "truncated"


class LLMBusyError(LLMProviderError):
    """No provider could be called within the deadline. The message gives the reason for each."""

    kind = "busy"


class LLMUnavailableError(LLMProviderError):
    """The embedded model cannot run here. The message says why and what to do."""

    kind = "unavailable"


class LLMUnexpectedError(LLMProviderError):
    """A provider raised an exception that is not an `LLMProviderError`. It is the `__cause__`."""

    kind = "unexpected"


class _FinalError(LLMProviderError):
    """Base of the errors after which no other provider is tried."""

    def __init__(self, message: str, *, retryable: bool = False, status: int | None = None) -> None:
        super().__init__(message, retryable=retryable, status=status)


class LLMAuthError(_FinalError):
    """The provider refuses the key or the account (401, 403)."""

    kind = "auth"


class LLMMissingKeyError(_FinalError):
    """There is no key to send. The message names the variable that should hold it."""

    kind = "missing_key"


class LLMNotFoundError(_FinalError):
    """The provider does not know the address or the model (404)."""

    kind = "not_found"


class LLMContextLengthError(_FinalError):
    """The prompt is longer than the model's context."""

    kind = "context_length"


class LLMRefusedError(_FinalError):
    """The provider refuses the content, of the prompt or of its own answer. The message has its reason."""

    kind = "refused"


class LLMBadRequestError(_FinalError):
    """The provider refuses the request (any 4xx not named above)."""

    kind = "bad_request"


class LLMInterruptedError(_FinalError):
    """The answer broke off after its first text had been handed on. The `__cause__` is the error behind it."""

    kind = "interrupted"
