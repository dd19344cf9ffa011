"""The facts of the current request, socket and run, for the lines that are logged meanwhile and for metrics.

A door (`web.metrics`, `api.door`) begins the facts. Tasks and threads of the request share them and fill them in.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from promptops.platform.ids import new_hex

SAFE = re.compile(r"[A-Za-z0-9._-]{1,64}")
IN_SCOPE = "promptops.facts"
"""The key of the facts in the ASGI scope, by which an inner door finds those of the outer one."""


@dataclass
class Facts:
    """The known facts of a request or a socket: ids and names, no secret.

    `traceparent` and `tracestate` are the headers of W3C Trace Context.
    """

    id: str = ""
    route: str = ""
    """The address without the values in it."""
    token: str = ""
    """The name of the token."""
    person: int | None = None
    traceparent: str = ""
    tracestate: str = ""


@dataclass(frozen=True)
class RunFacts:
    """The run in progress. `id` is "" for the run of a page, which has its number only once it is recorded."""

    id: str
    revision: int


_facts: ContextVar[Facts | None] = ContextVar("facts", default=None)
run_facts: ContextVar[RunFacts | None] = ContextVar("run_facts", default=None)
"""The facts of the current run; None elsewhere."""


def facts() -> Facts:
    """Return the facts of the current request or socket. Elsewhere they are empty, and nobody reads what is set."""
    return _facts.get() or Facts()


@contextmanager
def facts_of(scope: Any) -> Iterator[Facts]:
    """Begin the facts of an ASGI scope, or go on with those that an outer door has begun for it.

    The context alone would not do: Twisted reads the next request of a connection in the context of the last one.
    """
    known = scope.get(IN_SCOPE)
    if known is None:
        sent = dict(scope["headers"])
        texts = [sent.get(name, b"").decode("latin-1") for name in (b"x-request-id", b"traceparent", b"tracestate")]
        known = scope[IN_SCOPE] = Facts(chosen_id(texts[0]), traceparent=texts[1], tracestate=texts[2])
    marker = _facts.set(known)
    try:
        yield known
    finally:
        _facts.reset(marker)


def chosen_id(sent: str) -> str:
    """Return the id that a client sent if it is safe to log, else a new one."""
    return sent if SAFE.fullmatch(sent) else new_hex()
