"""Server-sent events: bytes in, data out. Knows nothing of HTTP or of what the data are."""

from __future__ import annotations

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventParser:
    """Splits a stream of bytes into the data of server-sent events, wherever the bytes are cut.

    Works on bytes, so a character split between two chunks is whole again before it is decoded. A byte order mark
    before the first line, comments, and fields other than `data` are skipped; an object in llama.cpp's field `error` is
    data, too.
    """

    def __init__(self) -> None:
        self._line_so_far: list[bytes] = []
        self._held = b""
        self._data: list[bytes] = []
        self._started = False

    def feed(self, chunk: bytes) -> list[str]:
        """The data of the events that `chunk` completes. Each byte is looked at once, however long a line is."""
        text = self._held + chunk
        # A carriage return at the very end may be the first half of a line end: it waits for the next chunk.
        self._held = b"\r" if text.endswith(b"\r") else b""
        text = text[: len(text) - len(self._held)]
        first, *lines = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._line_so_far.append(first)
        if not lines:
            return []
        lines.insert(0, b"".join(self._line_so_far))
        self._line_so_far = [lines.pop()]
        return [event for line in lines for event in self._line(line)]

    def close(self) -> list[str]:
        """The data of a last event that no blank line ended."""
        last, self._line_so_far = b"".join(self._line_so_far), []
        return self._line(last) + self._line(b"")

    def _line(self, line: bytes) -> list[str]:
        if not self._started:
            self._started = True
            line = line.removeprefix(BYTE_ORDER_MARK)
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"error: {"):  # how llama.cpp reports an error within a stream
            self._data.append(line[7:])
        elif not line and self._data:
            event = b"\n".join(self._data).decode("utf-8", errors="replace")
            self._data = []
            return [event]
        return []
