"""Remove a model's reasoning and its end tokens from its text, whole or streamed. The tokens are in `tokens.py`."""

from __future__ import annotations

import re

from promptops.engine.answers.tokens import CLOSED_BY_END, LONGEST, PREFIXES, STARTS, TOKENS, Action

QUOTES = frozenset("\"'`“”„‘’«»‹›「」『』")
"""A token between two of these marks is quoted text, not a token."""

NAME_LIMIT = 64
"""The most characters of a channel's or speaker's name. The longest in use has about 40 ("commentary to=...")."""

_CANDIDATE = re.compile(rf"<[^<>\n]{{1,{LONGEST}}}>|\[[/A-Za-z ]{{3,14}}\]|◁/?think▷")

_PLAINLY_CUT = re.compile(r"<[|｜][a-z]|</[a-z]|<end_of_")

# Reasoning in plain words, which only the whole answer shows. Granite's models write the first form. The second is left
# of gpt-oss channels if a server drops their tokens. Ollama prints the third.
_SPELLED_OUT = (
    (
        re.compile(r"here(?:'|’)?(?:s| is) my thought process:", re.I),
        re.compile(r"here(?:'|’)?(?:s| is) my response:", re.I),
    ),
    (re.compile(r"analysis(?! )"), re.compile(r"assistantfinal")),
    (re.compile(r"thinking\.\.\.\s", re.I), re.compile(r"\.\.\.done thinking\.", re.I)),
)


class ReasoningFilter:
    """Removes reasoning and end tokens from text in pieces, even if a token is split between two pieces."""

    def __init__(self) -> None:
        self._pending = ""
        self._last = ""  # the character before `_pending`
        self._pending_token: int | None = None  # the index of a token that may turn out to be quoted
        self._opening = ""  # the token that began the reasoning; empty outside of it
        self._naming: Action | None = None  # a name is being read, for this token
        self._name = ""
        self._ended = False
        self._final = False  # a final channel was named
        self._begun = False  # there was text other than white space
        self._visible: list[str] = []
        self._thoughts: list[str] = []
        self._returned = 0  # characters
        self.answer_start = 0

    @property
    def thoughts(self) -> str:
        """Return the reasoning so far."""
        return "".join(self._thoughts)

    def feed(self, text: str) -> str:
        """Return the part of the text so far that is certainly not reasoning and was not returned before.

        `answer_start` is the index of the answer in all returned text. A closing tag without an opening shows that all
        text before it was reasoning, but that text was returned already.
        """
        return self._read(self._pending + text, is_last=False)

    def close(self) -> str:
        """Return the text that was held back because it could have been the start of a token."""
        return self._read(self._pending, is_last=True)

    def _read(self, data: str, *, is_last: bool) -> str:
        at = self._tokens(data, is_last=is_last)
        if is_last:
            data = data[: len(data) - _cut_token(data[at:], self._last)]
        certain = len(data) if is_last else max(at, len(data) - _partial_token(data[max(at, len(data) - LONGEST) :]))
        if self._pending_token is not None:
            certain = self._pending_token
        self._put(data[at:certain])
        self._last = data[certain - 1] if certain else self._last
        self._pending = data[certain:]
        visible, self._visible = "".join(self._visible), []
        self._returned += len(visible)
        return visible

    def _tokens(self, data: str, *, is_last: bool) -> int:
        """Apply every token of `data`, and return the index of the text after the last one."""
        at = 0
        self._pending_token = None
        for match in _CANDIDATE.finditer(data):
            action = TOKENS.get(match.group().lower())
            if action is None:
                continue
            before = data[match.start() - 1] if match.start() else self._last
            if before in QUOTES:
                if match.end() == len(data) and not is_last:
                    self._pending_token = match.start()
                    break
                if data[match.end() : match.end() + 1] in QUOTES:
                    continue
            self._put(data[at : match.start()])
            self._act(action, match.group().lower())
            at = match.end()
        return at

    def _put(self, text: str) -> None:
        if self._naming is not None:
            text = self._read_name(text)
        if not text or self._ended:
            return
        if self._opening:
            self._thoughts.append(text)
        else:
            self._visible.append(text)
            self._begun = self._begun or not text.isspace()

    def _read_name(self, text: str) -> str:
        """Read a name, and return the text after it. A name ends with its line, at a token or at its limit."""
        room = NAME_LIMIT - len(self._name)
        end = text.find("\n", 0, room)
        self._name += text[: end if end >= 0 else room]
        if end < 0 and len(text) < room:
            return ""
        self._end_name()
        return text[end + 1 if end >= 0 else room :]

    def _end_name(self) -> None:
        naming, name = self._naming, self._name.strip().lower()
        self._naming, self._name = None, ""
        if naming is Action.CHANNEL:
            self._enter_channel(name)
        elif naming is Action.ROLE:
            self._ended = (self._ended and self._begun) or name not in ("", "assistant", "model")
        elif name == "think":
            self._act(Action.OPEN if naming is Action.ELEMENT else Action.CLOSE, name)

    def _enter_channel(self, name: str) -> None:
        if not name.startswith("final"):
            self._opening = "<|channel|>"
        elif not self._final:
            self._final = True
            self._opening, self._ended = "", False
            self._restart()

    def _act(self, action: Action, token: str) -> None:
        if self._naming is not None:
            self._end_name()
        if self._opening:
            ends_message = action in (Action.END, Action.ROLE, Action.CHANNEL) and self._opening in CLOSED_BY_END
            if action is not Action.CLOSE and not ends_message:
                self._naming = action if action is Action.ELEMENT_END else None
                return
            self._opening = ""
        elif action is Action.CLOSE:
            self._restart()
        elif action in (Action.END, Action.ROLE):
            self._ended = self._ended or self._begun
        if action is Action.OPEN and not self._ended:
            self._opening = token
        elif action in (Action.CHANNEL, Action.ROLE, Action.ELEMENT, Action.ELEMENT_END):
            self._naming = action

    def _restart(self) -> None:
        """Treat the text so far as reasoning."""
        self.answer_start = self._returned + sum(map(len, self._visible))
        self._begun = self._ended = False


def _partial_token(text: str) -> int:
    """Count the characters at the end of `text` that could be the start of a token."""
    if not _may_have_tokens(text):
        return 0
    return next((len(text) - at for at in range(len(text)) if text[at] in STARTS and text[at:].lower() in PREFIXES), 0)


def _may_have_tokens(text: str) -> bool:
    for start in STARTS:  # noqa: SIM110 - `any` takes three times as long, and every answer passes here
        if start in text:
            return True
    return False


def _cut_token(text: str, before: str) -> int:
    """Count the characters of a token that the answer's end cut off ("<|im_e"). After a quotation mark it is text."""
    length = _partial_token(text[-LONGEST:])
    part = text[len(text) - length :].lower()
    is_quoted = (before + text)[: len(before + text) - length][-1:] in QUOTES
    return length if not is_quoted and _PLAINLY_CUT.match(part) else 0


def split_reasoning(raw: str) -> tuple[str, str]:
    """Return the answer, stripped, and the reasoning in a model's whole text, both without end tokens.

    Reasoning that is never closed extends to the end. Reasoning that was closed but never opened begins at the start.
    """
    answer, thoughts = raw.strip(), ""
    if _may_have_tokens(raw):
        reasoning = ReasoningFilter()
        visible = reasoning.feed(raw) + reasoning.close()
        start = reasoning.answer_start
        answer, thoughts = visible[start:].strip(), visible[:start] + reasoning.thoughts
    for opening, closing in _SPELLED_OUT:
        begun = opening.match(answer)
        ends = begun and closing.search(answer, begun.end())
        if begun and ends:
            return answer[ends.end() :].strip(), thoughts + answer[begun.end() : ends.start()]
    return answer, thoughts
