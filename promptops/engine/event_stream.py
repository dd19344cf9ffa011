"""Server-sent events: bytes in, data out. HTTP and the meaning of the data do not belong here."""

from __future__ import annotations

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventParser:
    """Splits a stream of bytes into the data of server-sent events, however the bytes are cut.

    It joins the bytes before it decodes them, so a character may be split between two chunks. It skips a byte order
    mark before the first line, comments, and all fields except `data`. An object in llama.cpp's field `error` counts as
    data.
    """

    def __init__(self) -> None:
        self._line_so_far: list[bytes] = []
        self._held = b""
        self._data: list[bytes] = []
        self._started = False

    def feed(self, chunk: bytes) -> list[str]:
        """Return the data of the events that `chunk` completes. Reads each byte once, however long a line is."""
        text = self._held + chunk
        # A carriage return at the very end may be half of a line end, so it waits for the next chunk.
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
        """Return the data of a last event without a blank line behind it."""
        last, self._line_so_far = b"".join(self._line_so_far), []
        return self._line(last) + self._line(b"")

    def _line(self, line: bytes) -> list[str]:
        if not self._started:
            self._started = True
            line = line.removeprefix(BYTE_ORDER_MARK)
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"error: {"):  # llama.cpp reports an error within a stream this way
            self._data.append(line[7:])
        elif not line and self._data:
            event = b"\n".join(self._data).decode("utf-8", errors="replace")
            self._data = []
            return [event]
        return []
