"""Put an answer together, whole or from the events of a stream. Deciding whether it is a success belongs elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from functools import cached_property
from typing import Any

from promptops.engine import http
from promptops.engine.answers import ReasoningFilter
from promptops.engine.event_stream import EventParser
from promptops.engine.providers.finish_reasons import given_reason
from promptops.engine.providers.reading import (
    DONE,
    as_dict,
    as_str,
    documents,
    first_choice,
    parsed,
    read_text,
    read_usage,
    unwrapped,
)
from promptops.engine.providers.reported import ReportedError, read_error
from promptops.engine.types import Usage

MAX_EVENTS = 100_000
"""The most events of one stream. A model sends one event a token, and the longest answers have 65,536 tokens."""

EVENTS_IN_A_ROW = 128
"""The number of events that are read, in about 3 ms, before other tasks may run."""

LINGER_SECONDS = 0.25
"""The longest silence of a stream whose answer is complete. The usage and the end of the body follow at once, and only
a body that was read to its end leaves a reusable connection."""

DOUBT_SECONDS = 2.0
"""The same if a finish reason proves little: no text has arrived yet, or text followed an earlier finish reason.
Gemini's gateways send one with every chunk. Slow models pause for less than two seconds between two tokens."""

NOT_JSON = "sent an answer that is not JSON"


class Answer:
    """The content of an answer, whole or streamed."""

    finish_reason: str | None = None
    usage: Usage | None = None
    model: str | None = None

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._refusals: list[str] = []

    @property
    def raw(self) -> str:
        """Return the text as the model wrote it."""
        return "".join(self._texts)

    @property
    def reasoning(self) -> str:
        """Return the text of the fields for reasoning."""
        return "".join(self._thoughts)

    @property
    def refusal(self) -> str:
        """Return the text of the field for a refusal."""
        return "".join(self._refusals)

    def add(self, data: Any, choice: dict[str, Any], message: dict[str, Any], text: str) -> None:
        """Add a message, or a piece of one, whose text is `text`."""
        thought = as_str(message.get("reasoning")) or as_str(message.get("reasoning_content"))
        refusal = as_str(message.get("refusal"))
        if text:
            self._texts.append(text)
        if thought:
            self._thoughts.append(thought)
        if refusal:
            self._refusals.append(refusal)
        if reason := choice.get("finish_reason"):
            self.finish_reason = given_reason(reason) or self.finish_reason
        self.model = as_str(as_dict(data).get("model")) or self.model


class StreamedAnswer(Answer):
    """Puts an answer together from its events, or reads it whole.

    `error` is the error that the provider reported instead. `unreadable` says why a body is no answer.
    """

    error: ReportedError | None = None
    unreadable: str | None = None
    events = 0
    _done = False
    _length = 0
    _begun = False
    _in_pieces = False
    _grew = False
    _is_life = False
    _doubtful = False

    def __init__(self) -> None:
        super().__init__()
        self._spaces: list[str] = []

    @cached_property
    def _filter(self) -> ReasoningFilter:
        return ReasoningFilter()  # made on first use, because a whole answer needs none

    @property
    def complete(self) -> bool:
        """Return whether the provider ended the answer. A stream without `[DONE]` and finish reason broke off."""
        return self._done or self.finish_reason is not None

    async def read(self, chunks: AsyncGenerator[bytes, None], head: bytes = b"") -> AsyncGenerator[str, None]:
        """Yield the text without reasoning and outer white space, until the answer is over or broken.

        The answer is over at the end of the body, and, once it is complete, after a silence. It continues while text
        arrives, whatever finish reasons come with it. An empty piece means that the model is reasoning. `head` is the
        part of the body that was read already.
        """
        parser = EventParser()
        ends: float | None = None
        chunk: bytes | None = head
        async with aclosing(chunks) as body:
            while self.error is None and chunk is not None:
                try:
                    async with asyncio.timeout_at(ends):
                        chunk = head or await anext(body, None)
                except TimeoutError:
                    break
                except http.CallFailed:
                    if not self.complete:
                        raise
                    break
                head = b""
                self._grew = False
                for event in parser.close() if chunk is None else parser.feed(chunk):
                    text = self._event(DONE if event.strip() == DONE else parsed(event))
                    if text or self._is_life:
                        yield text
                    if self.events % EVENTS_IN_A_ROW == 0:
                        await asyncio.sleep(0)  # one chunk can hold thousands of events: let other tasks run
                    if self.events > MAX_EVENTS:
                        raise http.CallFailed(f"sent more than {MAX_EVENTS:,} events", too_long=True)
                if self.complete and (ends is None or self._grew):
                    ends = asyncio.get_running_loop().time() + self._silence()
        for text in self._end():
            yield text

    async def take(self, reply: http.Reply) -> AsyncGenerator[str, None]:
        """Yield the text of a streamed answer as it arrives. A whole answer is read and yields nothing."""
        async with aclosing(reply.chunks()) as chunks:
            is_stream, head = await reply.is_stream(chunks)
            if is_stream:
                async with aclosing(self.read(chunks, head)) as pieces:
                    async for text in pieces:
                        yield text
                self._ended(reply)
                return
            body = b"".join([head, *[chunk async for chunk in chunks]])
        for text in self._take_documents(documents(body) or []):
            yield text

    async def take_whole(self, reply: http.Reply) -> None:
        """Read an answer that was requested whole, even if it comes as a stream."""
        chunks = reply.chunks()  # both branches read them to the end, or close them
        is_stream, head = await reply.is_stream(chunks)
        if is_stream:
            async for _ in self.read(chunks, head):
                pass
            self._ended(reply)
            return
        parts = [head]
        async for chunk in chunks:
            parts.append(chunk)
        found_documents = documents(b"".join(parts)) or []
        if len(found_documents) == 1 and found_documents[0] != DONE:
            self._whole(unwrapped(found_documents[0]))
            return
        for _ in self._take_documents(found_documents):
            pass

    def _ended(self, reply: http.Reply) -> None:
        if not (self.events or reply.is_event_stream):
            self.unreadable = NOT_JSON

    def _take_documents(self, found_documents: list[Any]) -> Iterator[str]:
        """Read the documents of a body. If they are events, yield the text of each."""
        alone = [data for data in found_documents if data != DONE]
        if len(alone) < 2:
            self._whole(unwrapped(alone[0]) if alone else None)
            return
        for data in found_documents:
            if text := self._event(data):
                yield text
        yield from self._end()

    def _whole(self, data: Any) -> None:
        if data is None:
            self.unreadable = NOT_JSON
            return
        self.error = read_error(data)
        choice = first_choice(data)
        if choice is None:
            self.unreadable = "sent an answer without choices"
        elif self.error is None:
            self.usage = read_usage(data)
            message = as_dict(choice.get("message")) or as_dict(choice.get("delta"))
            self.add(data, choice, message, read_text(message.get("content")))
            self._done = True

    def _end(self) -> Iterator[str]:
        if self.complete and self.error is None and (text := self._trim(self._filter.close())):
            yield text

    def _silence(self) -> float:
        certain = self._done or (bool(self._texts) and not self._doubtful)
        return LINGER_SECONDS if certain else DOUBT_SECONDS

    def _event(self, data: Any) -> str:
        """Read one event and return the text that it adds. An event that is not JSON adds none."""
        self.events += 1
        self._is_life = False
        if data == DONE:
            self._done = self._done or self.error is None
            return ""
        data = unwrapped(data)
        self.error = self.error or read_error(data)
        if self.error is not None:  # text beside or after an error is part of no answer
            return ""
        self.usage = read_usage(data) or self.usage
        choice = first_choice(data, streamed=True)
        if choice is None or self._done:
            return ""
        message = as_dict(choice.get("delta"))
        text = read_text(message.get("content"))
        if message:
            self._in_pieces = self._in_pieces or bool(text)
        else:
            message = as_dict(choice.get("message"))
            text = self._new_text(read_text(message.get("content")), given_reason(choice.get("finish_reason")))
        thought_before = len(self._thoughts)
        finished_before = self.finish_reason is not None
        self.add(data, choice, message, text)
        self._length += len(text)
        thoughts = "".join(self._thoughts[thought_before:])
        grew = bool(text or thoughts)
        self._is_life = bool(text.strip() or thoughts.strip())
        self._grew = self._grew or grew
        self._doubtful = self._doubtful or (grew and finished_before)
        return self._trim(self._filter.feed(text))

    def _new_text(self, text: str, finish: str | None) -> str:
        """Return the new text of a `message` in a stream: servers send pieces there, or the whole text so far."""
        if not self._length or len(text) < self._length or not text.startswith(self.raw):
            return text
        repeats = self._in_pieces or len(text) > self._length or finish is not None
        return text[self._length :] if repeats else text

    def _trim(self, text: str) -> str:
        """Return the text, holding back white space until other text follows it."""
        visible = text.rstrip()
        space = text[len(visible) :]
        if visible:
            visible = "".join([*self._spaces, visible]) if self._begun else visible.lstrip()
            self._begun = True
            self._spaces.clear()
        if space:
            self._spaces.append(space)
        return visible
