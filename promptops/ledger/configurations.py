"""The form in which a release stores the configuration: the whole one now and then, else its changes since then.

Both are gzip files (RFC 1952) of JSON (RFC 8259) in ASCII. A whole one is the JSON object of the parts. Its lines are
its text, cut after each `},` and `],`. Changes are `[crc32, [piece, ...]]`: a piece is a new line, or `[first, count]`
of lines of the whole one, counted from 0. The pieces in order are the text, and `crc32` is that of the text.

The parts of the configuration belong to `parts`.
"""

import gzip
import json
import re
import zlib
from typing import Any

WHOLE_EVERY = 20
"""The most releases that rely on one whole configuration, and are lost with it."""

LEVEL = 9
"""A tenth smaller than level 6, for a quarter of a millisecond more."""

LINES = re.compile(r"(?<=[\]}],)")


class DamagedConfiguration(ValueError):
    """The stored bytes are not what a release wrote. The message says what is wrong with them."""


def pack(values: dict[str, Any]) -> bytes:
    """Return the whole configuration as a release stores it. Raises ValueError for a number that JSON does not have."""
    return _compressed(_text(values))


def pack_changes(values: dict[str, Any], whole: bytes) -> bytes:
    """Return the changes since a whole configuration as a release stores them. Raises DamagedConfiguration for that."""
    text = _text(values)
    pieces: list[Any] = []
    places = {line: place for place, line in enumerate(LINES.split(_decompressed(whole)))}
    for line in LINES.split(text):
        place = places.get(line)
        if place is None:
            pieces.append(line)
        elif pieces and isinstance(pieces[-1], list) and sum(pieces[-1]) == place:
            pieces[-1][1] += 1
        else:
            pieces.append([place, 1])
    return _compressed(json.dumps([zlib.crc32(text.encode()), pieces], separators=(",", ":")))


def unpack(packed: bytes, whole: bytes | None = None) -> dict[str, Any]:
    """Return the configuration that a release stored, from its changes if `whole` is given.

    Raises DamagedConfiguration.
    """
    text = _decompressed(packed)
    if whole is not None:
        text = _changed(text, LINES.split(_decompressed(whole)))
    values = _loaded(text)
    if not isinstance(values, dict):
        raise DamagedConfiguration("it is no JSON object")
    return values


def _changed(changes: str, lines: list[str]) -> str:
    try:
        crc32, pieces = _loaded(changes)
        text = "".join(
            piece if isinstance(piece, str) else "".join(lines[piece[0] : piece[0] + piece[1]]) for piece in pieces
        )
        fits = zlib.crc32(text.encode("ascii")) == crc32
    except (TypeError, ValueError, LookupError):
        raise DamagedConfiguration("it is no list of changes") from None
    if not fits:
        raise DamagedConfiguration("its changes do not fit the whole configuration that came before")
    return text


def _text(values: dict[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":"), allow_nan=False)


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedConfiguration(f"{type(error).__name__}: {error}") from None


def _compressed(text: str) -> bytes:
    return gzip.compress(text.encode("ascii"), LEVEL, mtime=0)


def _decompressed(packed: bytes) -> str:
    try:
        return gzip.decompress(packed).decode("ascii")
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DamagedConfiguration(f"{type(error).__name__}: {error}") from None
