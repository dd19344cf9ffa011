"""The cache file: the last good live document of this server, for a start without the control room.

One line of JSON with the SHA-256 of the rest, then the document exactly as it arrived. A file without that line is a
bootstrap file: a document as `GET /api/v1/live` returns it, which has a SHA-256 of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

from promptops.engine.live_document import MAX_BYTES

FORMAT = "promptops-cache-1"


class UnreadableFile(ValueError):
    """The file is missing, damaged or too long. The message is a sentence."""


def read_document(path: Path) -> bytes:
    """Return the document in a cache or bootstrap file. Raises `UnreadableFile`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1024)
    except OSError as error:
        raise UnreadableFile(f"{path.name} cannot be read: {error.strerror or type(error).__name__}.") from None
    if len(data) >= MAX_BYTES + 1024:
        raise UnreadableFile(f"{path.name} is too long.")
    head, line_end, body = data.partition(b"\n")
    if not head.startswith(b'{"format": "promptops-cache'):
        return data
    try:
        header = json.loads(head)
    except ValueError:
        header = {}
    is_whole = bool(line_end) and header.get("sha256") == hashlib.sha256(body).hexdigest()
    if header.get("format") != FORMAT or not is_whole:
        raise UnreadableFile(f"{path.name} is damaged: its content does not have the recorded SHA-256.")
    return body


def write_document(path: Path, body: bytes) -> None:
    """Replace the cache file as a whole; only its owner may read it. Raises `OSError`."""
    header = json.dumps({"format": FORMAT, "sha256": hashlib.sha256(body).hexdigest()})
    write_whole(path, header.encode() + b"\n" + body)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, with mode 0600. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
