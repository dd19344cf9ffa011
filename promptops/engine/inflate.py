"""Decompress the body of an answer in small pieces, so that a small body cannot fill the memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

STEP_BYTES = 64 * 1024
"""The largest size of a piece. Inflating it takes about 0.2 ms; after each piece other tasks may run."""

_AUTO_HEADER = 32 + zlib.MAX_WBITS  # zlib's code for "a gzip or a zlib header"
_NO_HEADER = -zlib.MAX_WBITS


class InflateError(ValueError):
    """The body cannot be decompressed."""


class Inflater:
    """Decompresses one layer of gzip or deflate.

    `deflate` should have a zlib header (RFC 9110, 8.4.1.2), but some servers omit it. Both forms are read.
    """

    def __init__(self, encoding: str) -> None:
        """Raise `InflateError` for an encoding that no request asked for, such as two layers."""
        self._encoding = encoding.strip().lower()
        if self._encoding not in ("gzip", "x-gzip", "deflate"):
            raise InflateError(f"the encoding {self._encoding[:40]!r} was not asked for")
        self._stream: zlib._Decompress | None = None
        self._head = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the decompressed `data`, at most `STEP_BYTES` at a time. Raises `InflateError`."""
        if self._stream is None:
            self._head += data
            if len(self._head) < 2:  # a zlib header has two bytes
                return
            data = self._head
            self._stream = zlib.decompressobj(_AUTO_HEADER if self._has_header(data) else _NO_HEADER)
        while data and not self._stream.eof:
            try:
                piece = self._stream.decompress(data, STEP_BYTES)
            except zlib.error as error:
                raise InflateError(str(error)) from None
            data = self._stream.unconsumed_tail
            if piece:
                yield piece

    def _has_header(self, data: bytes) -> bool:
        """Return whether `data` begins with the header of its encoding (for zlib's: RFC 1950, 2.2)."""
        return self._encoding != "deflate" or (data[0] & 0x0F == 8 and (data[0] * 256 + data[1]) % 31 == 0)
