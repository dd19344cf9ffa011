"""Take a model's thinking out of its text."""

from __future__ import annotations

import re


class ReasoningFilter:
    """Takes `<think>...</think>` out of text that comes in pieces, also when a tag is cut in two."""

    def __init__(self) -> None:
        self._pending = ""
        self._thinking = False
        self.thoughts = ""

    def feed(self, text: str) -> str:
        """The part of the text so far that is certainly not thinking, and was not given out before."""
        data = self._pending + text
        visible, at = [], 0
        while found := self._tag().search(data, at):
            visible.append(self._sort(data[at : found.start()]))
            at = found.end()
            self._thinking = not self._thinking
        tag = "</think>" if self._thinking else "<think>"
        certain = len(data) - _partial_tag(data[max(at, len(data) - len(tag)) :], tag)
        visible.append(self._sort(data[at:certain]))
        self._pending = data[certain:]
        return "".join(visible)

    def close(self) -> str:
        """What was held back because it could have been the start of a tag."""
        rest, self._pending = self._pending, ""
        return self._sort(rest)

    def _tag(self) -> re.Pattern[str]:
        return _CLOSE if self._thinking else _OPEN

    def _sort(self, text: str) -> str:
        if not self._thinking:
            return text
        self.thoughts += text
        return ""


_OPEN = re.compile("<think>", re.IGNORECASE | re.ASCII)
_CLOSE = re.compile("</think>", re.IGNORECASE | re.ASCII)


def _partial_tag(text: str, tag: str) -> int:
    """How many characters at the end of `text` could be the start of `tag`."""
    return next((n for n in range(min(len(tag) - 1, len(text)), 0, -1) if text[-n:].lower() == tag[:n]), 0)


def split_reasoning(raw: str) -> tuple[str, str]:
    """The answer, stripped, and the thinking in a model's whole text.

    Thinking that is never closed goes to the end; thinking closed without having been opened goes from the start.
    """
    if "<" not in raw:
        return raw.strip(), ""
    reasoning = ReasoningFilter()
    visible = reasoning.feed(raw) + reasoning.close()
    *unopened, answer = _CLOSE.split(visible)
    return answer.strip(), "".join(unopened) + reasoning.thoughts
