"""The messages of servers, read strictly: each has its keys, types and sizes, and anything else is refused by name.

Pure: no database and no socket. A socket registers once and then leaves out its name; over HTTP each message has it.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_BYTES = 16 * 1024
MOST_LABELS = 16
MOST_WORDS = 500
"""Characters of a reason. A longer one is cut off."""
MOST_REVISION = 10**9
MOST_RUNS_A_MINUTE = 1e6
KINDS = ("library", "files")
STATES = ("ready", "stale", "offline", "refused")

NAME = re.compile(r"[A-Za-z0-9](?:[\w.:@/-]{0,98}[A-Za-z0-9_])?", re.ASCII)
INSTANCE = re.compile(r"[A-Za-z0-9-]{1,64}")
EPOCH = re.compile(r"[A-Za-z0-9]{0,32}")
SHA256 = re.compile(r"[0-9a-f]{64}")
LABEL = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,39})", re.ASCII)


class InvalidMessage(ValueError):
    """The message cannot be accepted. Its text is the sentence for the server."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """The content of a server: the revision (None: nothing yet) of an epoch, and the hash of its live document."""

    revision: int | None
    epoch: str = ""
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message. `server` and `instance` are empty if the socket knows them."""

    server: str = ""
    instance: str = ""


@dataclass(frozen=True, kw_only=True)
class Register(Content, Message):
    """The server is here."""

    kind: str
    state: str
    version: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    filtered: bool = False
    runs_a_minute: float | None = None
    documents: bool = False
    """Send the live document with each new revision, so that the server need not fetch it."""


@dataclass(frozen=True, kw_only=True)
class Applied(Content, Message):
    """The server has switched to the revision."""


@dataclass(frozen=True, kw_only=True)
class Refused(Message):
    """The server does not run the revision."""

    revision: int
    epoch: str = ""
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Drifted(Content, Message):
    """The server was on the revision, and somebody else has changed what it runs."""

    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Heartbeat(Content, Message):
    """The server is still here."""

    state: str
    runs_a_minute: float | None = None


TYPES: dict[str, type[Message]] = {
    "register": Register,
    "applied": Applied,
    "refused": Refused,
    "drifted": Drifted,
    "heartbeat": Heartbeat,
}
IDENTITY = ("server", "instance")


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise InvalidMessage(what)
        return value

    return read


def _one_of(values: tuple[str, ...]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in values:
            raise InvalidMessage(f"is one of {', '.join(values)}")
        return value

    return read


def _revision(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_REVISION:
        raise InvalidMessage(f"is a whole number from 0 to {MOST_REVISION:,}, or null")
    return value


def _some_revision(value: Any) -> int:
    revision = _revision(value)
    if revision is None:
        raise InvalidMessage("is a number here, not null")
    return revision


def _hash(value: Any) -> str:
    if value in (None, ""):
        return ""
    return _matching(SHA256, "is a SHA-256 in 64 small hex digits")(value)


def _version(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 50 or not value.isprintable():
        raise InvalidMessage("is a text of at most 50 printable characters")
    return value


def _words(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidMessage("is a text")
    printable = "".join(character if character.isprintable() else " " for character in value[: 2 * MOST_WORDS])
    return " ".join(printable.split())[:MOST_WORDS]


def _labels(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > MOST_LABELS:
        raise InvalidMessage(f"is an object of at most {MOST_LABELS} labels")
    for name, text in value.items():
        if not LABEL.fullmatch(name):
            raise InvalidMessage("has a name that is no label: use at most 40 letters, digits, dots and dashes")
        if not isinstance(text, str) or len(text) > 100 or not text.isprintable():
            raise InvalidMessage("has a value that is no text of at most 100 printable characters")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidMessage("is true or false")
    return value


def _rate(value: Any) -> float | None:
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not 0 <= value <= MOST_RUNS_A_MINUTE:
        raise InvalidMessage(f"is a number from 0 to {MOST_RUNS_A_MINUTE:,.0f}, or null")
    return float(value)


READERS: dict[str, Callable[[Any], Any]] = {
    "server": _matching(NAME, "is a name of 1 to 100 letters, digits and . : @ / - _"),
    "instance": _matching(INSTANCE, "is an id of 1 to 64 letters, digits and dashes"),
    "kind": _one_of(KINDS),
    "state": _one_of(STATES),
    "version": _version,
    "labels": _labels,
    "revision": _revision,
    "epoch": _matching(EPOCH, "is the epoch of the live document"),
    "sha256": _hash,
    "why": _words,
    "filtered": _flag,
    "documents": _flag,
    "runs_a_minute": _rate,
}
REQUIRED = {
    Register: ("kind", "state", "revision"),
    Applied: ("revision", "epoch", "sha256"),
    Refused: ("revision", "epoch"),
    Drifted: ("revision", "epoch"),
    Heartbeat: ("revision", "state"),
}
KEYS = {
    (shape, is_registered): (
        frozenset(shape.__dataclass_fields__) - frozenset(IDENTITY if is_registered else ()),
        REQUIRED[shape] + (() if is_registered else IDENTITY),
    )
    for shape in TYPES.values()
    for is_registered in (True, False)
}
"""The keys of a message, and those that it needs."""


def parse_text(text: str | bytes | None, *, is_registered: bool) -> Message:
    """Return the message of a frame. Raises InvalidMessage."""
    if not isinstance(text, str):
        raise InvalidMessage("Send JSON in a text frame.")
    if len(text) > MOST_BYTES or len(text.encode(errors="replace")) > MOST_BYTES:
        raise InvalidMessage(f"The message is longer than {MOST_BYTES:,} bytes. Send less.")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidMessage("The message is not JSON.") from None
    return parse(data, is_registered=is_registered)


def parse(data: Any, *, is_registered: bool) -> Message:
    """Return the message of a JSON object. A registered socket leaves out `server` and `instance`.

    Raises InvalidMessage.
    """
    if not isinstance(data, Mapping):
        raise InvalidMessage("The message is not a JSON object.")
    kind = data.get("type")
    if not isinstance(kind, str) or kind not in TYPES:
        raise InvalidMessage(f"The type of the message is unknown. Use one of {', '.join(TYPES)}.")
    shape = TYPES[kind]
    if is_registered and shape is Register:
        raise InvalidMessage("The server is registered already. Open a new connection to register again.")
    known, required = KEYS[shape, is_registered]
    if unknown := sorted(str(name) for name in data if name not in known and name != "type"):
        raise InvalidMessage(f"A message of the type {kind} has no {_quoted(unknown[0])}. Leave it out.")
    if missing := [name for name in required if name not in data]:
        raise InvalidMessage(f"A message of the type {kind} needs {', '.join(missing)}.")
    values = {name: _read(name, value, shape) for name, value in data.items() if name != "type"}
    message = shape(**values)
    if isinstance(message, Content) and message.revision is not None and not (message.sha256 and message.epoch):
        raise InvalidMessage("A message with a revision needs the sha256 and the epoch of its live document.")
    return message


def _read(name: str, value: Any, shape: type[Message]) -> Any:
    needs_revision = name == "revision" and shape in (Applied, Refused, Drifted)
    try:
        return (_some_revision if needs_revision else READERS[name])(value)
    except InvalidMessage as error:
        raise InvalidMessage(f"The value of {name} {error}.") from None


def _quoted(name: str) -> str:
    """Return an unknown key as it can stand in a sentence: it comes from outside."""
    return json.dumps(name[:40])
