"""The content that a server runs: one immutable content at a time, swapped as a whole.

Reading files and documents, and the rules for what may replace what, belong here. Calls belong to `follower`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from promptops.client.cache import UnreadableFile, read_document, write_document
from promptops.client.filters import Filters
from promptops.client.timing import Clock
from promptops.engine.enhancer import BUILT_IN_PROMPTS
from promptops.engine.live_document import InvalidDocument, parse_document, read_live_document
from promptops.engine.operations import OPERATIONS
from promptops.engine.providers.key_variables import Permitted
from promptops.engine.providers.kinds import kind_spec
from promptops.engine.snapshot import ProviderSpec, Snapshot, TemplateSpec

log = logging.getLogger(__name__)

Source: TypeAlias = Literal["control room", "cache", "bootstrap", "code"]
Head: TypeAlias = tuple[str, int]
"""Epoch and revision of a live configuration."""


@dataclass(frozen=True)
class Content:
    """The content of runs: a snapshot, the SHA-256 of its document ("" for texts in code), and where it came from."""

    snapshot: Snapshot
    sha256: str
    source: Source

    @property
    def head(self) -> Head:
        """Return epoch and revision."""
        return self.snapshot.epoch, self.snapshot.revision


class RefusedDocument(Exception):
    """A document cannot be used. The message is a sentence for operators."""

    def __init__(self, message: str, head: Head | None) -> None:
        super().__init__(message)
        self.head = head


class OlderDocument(Exception):
    """A document is older than the content. A process of the control room lags behind another one."""


class Contents:
    """The content of one server. `current` may be read from any thread; one task at a time may replace it."""

    def __init__(
        self, *, cache: Path | None, filters: Filters, permitted: Permitted, clock: Clock, epoch_pause: float
    ) -> None:
        self.filters = filters
        self.swapped: Callable[[Content, Content], None] = lambda before, after: None
        """Called after each swap with the content before and after."""
        self._cache, self._permitted, self._clock, self._epoch_pause = cache, permitted, clock, epoch_pause
        self._entered_at: float | None = None
        self._current = Content(built_in({}), "", "code")
        self.swaps = 0
        """The number of swaps. A fetch notes it when it begins."""

    @property
    def current(self) -> Content:
        """Return the content. A run reads it once and keeps it."""
        return self._current

    def load_first(self, *, bootstrap: Path | None, texts: Mapping[str, str]) -> None:
        """Load the newest of cache file, bootstrap file and the texts given in code. Calls nobody.

        Of two files of one epoch the higher revision is newer. Of two epochs the cached one is: this server ran it.
        """
        found = [Content(built_in(texts), "", "code")]
        for path, source in ((bootstrap, "bootstrap"), (self._cache, "cache")):
            if path is None or (source == "cache" and not path.exists()):
                continue
            try:
                found.append(self._read(read_document(path), source))  # type: ignore[arg-type]
            except (UnreadableFile, RefusedDocument) as error:
                log.error("The %s file is not used: %s", source, error)
        newest = found[0]
        for each in found[1:]:
            if newest.source == "code" or each.head[0] != newest.head[0] or each.head[1] >= newest.head[1]:
                newest = each
        self._swap(newest)

    def is_news(self, head: Head) -> bool:
        """Return whether a head is newer than the content."""
        epoch, revision = head
        mine = self._current
        if not mine.sha256:
            return True
        return revision > mine.head[1] if epoch == mine.head[0] else self._may_leave()

    async def take(self, body: bytes, asked_after: int, prepare: Callable[[Snapshot], Awaitable[None]]) -> bool:
        """Swap in a document, write the cache file, and return whether the content changed.

        `asked_after` is the number of swaps before the document was asked for. `prepare` fetches what the content needs
        before it is used. Raises `RefusedDocument` for an invalid document and `OlderDocument`; the content stays then.
        """
        content = await asyncio.to_thread(self._read, body, "control room")
        self._check_age(content, asked_after)
        before = self._current
        if content.sha256 == before.sha256 and content.head == before.head:
            return False
        await prepare(content.snapshot)
        content = self._guarded(content)
        await asyncio.to_thread(self.filters.warm_up, content.snapshot.safety)
        self._swap(content)
        if self._cache is not None:
            try:
                await asyncio.to_thread(write_document, self._cache, body)
            except OSError as error:
                log.error("The cache file %s cannot be written: %s", self._cache, error.strerror)
        return True

    def renew_guard(self) -> None:
        """Give the content a new guard, because the file of its model is there now."""
        self._current = self._guarded(self._current)

    def _read(self, body: bytes, source: Source) -> Content:
        """Return the content of a document. Raises `RefusedDocument`."""
        head: Head | None = None
        try:
            document = parse_document(body)
            if isinstance(document.get("epoch"), str) and type(document.get("revision")) is int:
                head = document["epoch"], document["revision"]
            snapshot = read_live_document(document)
        except InvalidDocument as error:
            raise RefusedDocument(str(error), head) from None
        providers = tuple(self._with_key_rule(provider) for provider in snapshot.providers)
        return self._guarded(Content(replace(snapshot, providers=providers), document["sha256"], source))

    def _guarded(self, content: Content) -> Content:
        snapshot = content.snapshot
        return replace(content, snapshot=replace(snapshot, safety=self.filters.guarded(snapshot.safety)))

    def _with_key_rule(self, provider: ProviderSpec) -> ProviderSpec:
        """Return the provider with this server's own rule for its key: the control room decides no variable's way."""
        kind = kind_spec(provider.kind)
        variable, address = provider.key_env or kind.key_env, provider.base_url or kind.base_url
        problem = self._permitted.problem(variable, address) if variable else None
        return replace(provider, key_problem=problem or provider.key_problem)

    def _check_age(self, content: Content, asked_after: int) -> None:
        """Raise `OlderDocument` for a lower revision, and for an epoch that may be an older one.

        Two epochs have no order. A document of another one counts only if it was asked for after the last swap.
        """
        epoch, revision = content.head
        mine = self._current
        if not mine.sha256:
            return
        if epoch == mine.head[0]:
            if revision < mine.head[1]:
                raise OlderDocument(f"r{revision} is older than r{mine.head[1]}.")
        elif asked_after != self.swaps or not self._may_leave():
            raise OlderDocument("The document may belong to a life of the database that ended.")

    def _may_leave(self) -> bool:
        """Return whether another epoch may be used now: not within a few seconds after the last change of the epoch.

        While the processes of a control room take over a restored backup, one of them may still have an old epoch.
        """
        return self._entered_at is None or self._clock.monotonic() - self._entered_at >= self._epoch_pause

    def _swap(self, content: Content) -> None:
        before = self._current
        if before.head[0] != content.head[0] and content.source == "control room":
            self._entered_at = self._clock.monotonic()
        self._current = content
        self.swaps += 1
        self.swapped(before, content)


def built_in(texts: Mapping[str, str]) -> Snapshot:
    """Return a snapshot of the built-in operations, with these system prompts by operation. Raises `ValueError`.

    It has no providers and no safety filter, because nobody has set them.
    """
    if unknown := next((name for name in texts if name not in OPERATIONS), None):
        raise ValueError(f"Unknown operation {unknown!r} in the texts; known are {', '.join(OPERATIONS)}")
    bodies = {str(name): text for name, text in BUILT_IN_PROMPTS.items()}
    bodies |= {name: text for name, text in texts.items() if text.strip()}
    templates = tuple(
        TemplateSpec(
            id=place,
            name=name,
            operation=name,
            version_id=0,
            version_number=0,
            body=body,
            temperature=None,
            max_tokens=None,
            model=None,
            sha256="",
        )
        for place, (name, body) in enumerate(bodies.items(), 1)
    )
    return Snapshot(0, templates, {template.operation: template.id for template in templates}, ())
