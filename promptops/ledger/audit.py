"""The append-only record of changes: recording an entry, the hash chain with its check, and entries as sentences.

Entries are numbered without a gap. Each has the SHA-256 of its canonical JSON, which includes the hash of the entry
before it, so a changed, missing or inserted entry breaks the chain. An entry commits together with the change that it
records, or not at all. Callers pass no secrets: of a changed key, an entry says only that the key changed.

Actions are declared in `registry`; the list, its filters and its pages belong to `history`.
"""

import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, models
from django.db.models import Max
from django.utils import timezone
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

from promptops.ledger import registry
from promptops.ledger.models import AuditEntry, AuditHead
from promptops.platform import events

if TYPE_CHECKING:
    from promptops.people.models import User

GENESIS = "0" * 64  # the previous hash of the first entry
BATCH = 500  # entries that a check or an export reads at a time; each may hold two prompts of 64 KiB


@dataclass(frozen=True)
class Actor:
    """A person at an address, or a part of PromptOps (`user` is None) under a name such as "Command line"."""

    name: str
    user: "User | None" = None
    address: str = ""

    @classmethod
    def person(cls, user: "User", address: str = "") -> "Actor":
        """Return the actor for a person, who came from `address`."""
        return cls(name=user.name, user=user, address=address)


COMMAND_LINE = Actor("Command line")
SYSTEM = Actor("PromptOps")
SOMEBODY = Actor("Somebody")


def record(
    action: str,
    *,
    by: Actor,
    object: models.Model | None = None,
    object_name: str = "",
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    note: str = "",
    revision: int | None = None,
) -> AuditEntry:
    """Append one entry inside the caller's transaction, and send a hint to open pages on commit.

    Raises UnknownAction for an action that no feature declares (`ledger.registry`), and RuntimeError outside a
    transaction, where a change could commit without its entry.
    """
    registry.action(action)
    if not connection.in_atomic_block:
        raise RuntimeError("Call audit.record() inside the transaction of the change that it records.")
    # The row lock makes writers wait for each other, so numbers have no gap. SQLite has no row locks, but a transaction
    # there is the only writer from its start.
    head = AuditHead.objects.select_for_update().get(pk=1)
    entry = AuditEntry(
        seq=head.seq + 1,
        at=timezone.now(),
        action=action,
        actor=by.user,
        actor_name=by.name,
        address=by.address,
        object_type=(object._meta.model_name or "") if object is not None else "",
        object_id=str(object.pk) if object is not None else "",
        object_name=object_name or (str(object) if object is not None else ""),
        before=_storable(before),
        after=_storable(after),
        note=note,
        revision=revision,
        previous_sha256=head.sha256,
    )
    entry.sha256 = entry_sha256(entry)
    entry.save(force_insert=True)
    AuditHead.objects.filter(pk=1).update(seq=entry.seq, sha256=entry.sha256)
    events.broadcast_on_commit(events.AUDIT_RECORDED, entry.seq)
    return entry


WHOLE_FROM = 1e16  # Python writes such floats with an exponent, which PostgreSQL's JSON does not keep


def _storable(value: Any) -> Any:
    """Return the value with numbers that every database returns as they are: no -0.0, and large floats as integers.

    Otherwise the hash would not match the entry that is read later.
    """
    if isinstance(value, dict):
        return {key: _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if abs(value) >= WHOLE_FROM else value + 0.0
    return value


# The values that the hash covers, by their names in the canonical JSON: the fields of AuditEntry (`actor` is an id).
HASHED = (
    "seq",
    "at",
    "action",
    "actor",
    "actor_name",
    "address",
    "object_type",
    "object_id",
    "object_name",
    "before",
    "after",
    "note",
    "revision",
    "previous_sha256",
)
FIELDS = tuple("actor_id" if name == "actor" else name for name in HASHED)
canonical_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
"""JSON with sorted keys, no spaces, and characters as they are."""


def hashed(values: Iterable[Any]) -> dict[str, Any]:
    """Return the values of FIELDS by their names in the canonical JSON; the time is in UTC with microseconds."""
    by_name = dict(zip(HASHED, values, strict=True))
    by_name["at"] = by_name["at"].astimezone(UTC).isoformat(timespec="microseconds")
    return by_name


def entry_sha256(entry: AuditEntry) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of every field except the hash itself."""
    return _sha256(hashed(getattr(entry, name) for name in FIELDS))


def _sha256(values: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(values).encode()).hexdigest()


@dataclass(frozen=True)
class Link:
    """An entry's number and hash, written "12:0a1b…". A person who saves one outside PromptOps has a pin."""

    seq: int = 0
    sha256: str = GENESIS

    def __str__(self) -> str:
        return f"{self.seq}:{self.sha256}"

    @classmethod
    def read(cls, text: str) -> "Link":
        """Parse a text such as "12:0a1b…". Raises ValidationError."""
        match = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", text.strip().lower())
        if match is None:
            raise ValidationError(
                "A pin is an entry's number, a colon and its hash of 64 characters. Copy it from an earlier check."
            )
        return cls(int(match[1]), match[2])


@dataclass(frozen=True)
class Bad:
    """The first fault of the chain: the number of the entry, and the rest of a sentence about it."""

    seq: int
    problem: str

    def __str__(self) -> str:
        return f"Entry {self.seq} {self.problem}"


MISSING = "is missing."
TWICE = "has a number that is used twice or is below 1."
CHANGED = "was changed: its hash does not match its content."
UNLINKED = "does not follow the entry before it: one of the two was changed, removed or inserted."
NOT_HEAD = "is the newest entry, but the head of the chain names another one: one of the two was changed."
BEYOND = "comes after the head of the chain: it was inserted, or the head was set back."
CUT = "is missing: the chain ends before the pinned entry. Later entries were cut off."
NOT_PINNED = "is not the pinned entry: the history was rewritten."


@dataclass(frozen=True)
class Verdict:
    """The state of a check: the last entry that fits, the head of the chain, and the first fault, if any."""

    reached: Link
    head: Link
    bad: Bad | None = None

    @property
    def done(self) -> bool:
        """Return whether no entry is left to check."""
        return self.bad is not None or self.reached.seq >= self.head.seq


def verify(after: Link = Link(), *, pin: Link | None = None, seconds: float | None = None) -> Verdict:
    """Check the chain from the entry after `after` up to its head, for at most about `seconds` (None: to the end).

    Continue a verdict that is not done by passing its `reached` as `after`. The chain must include the entry `pin`.
    Entries are read in batches, each by a short query without a transaction, so that others can write meanwhile.
    """
    head = AuditHead.objects.filter(pk=1).first() or AuditHead()
    aim = Link(head.seq, head.sha256)
    until = None if seconds is None else time.monotonic() + seconds
    reached = after
    while reached.seq < aim.seq:
        reached, bad = _verify_batch(reached, aim, pin)
        if bad is not None or (reached.seq < aim.seq and until is not None and time.monotonic() > until):
            return Verdict(reached, aim, bad)
    if reached != aim:
        return Verdict(reached, aim, Bad(reached.seq, NOT_HEAD))
    # The newest entry is read before the head is read again, so an entry after that head was not recorded by PromptOps.
    newest = AuditEntry.objects.aggregate(newest=Max("seq"))["newest"] or 0
    now = AuditHead.objects.filter(pk=1).first() or AuditHead()
    if newest > now.seq:
        return Verdict(reached, aim, Bad(now.seq + 1, BEYOND))
    if pin is not None and pin.seq > aim.seq:
        return Verdict(reached, aim, Bad(aim.seq + 1, CUT))
    return Verdict(reached, aim)


def _verify_batch(reached: Link, aim: Link, pin: Link | None) -> tuple[Link, Bad | None]:
    """Check the next entries up to `aim`. Return the last entry that fits, and the fault after it, if any.

    The batch begins with the entry `reached`, so that a second entry with the same number is found.
    """
    rows = AuditEntry.objects.filter(seq__lte=aim.seq).order_by("seq")
    if reached.seq:  # otherwise from the first row, to find numbers below 1
        rows = rows.filter(seq__gte=reached.seq)
    size = BATCH
    try:
        batch = _read(rows, size)
    except ValueError:  # one entry of the batch is unreadable; those before it are checked one at a time
        size = 2 if reached.seq else 1
        try:
            batch = _read(rows, size)
        except ValueError:
            return reached, Bad(reached.seq + 1, CHANGED)
    complete = len(batch) == size
    if reached.seq and batch and batch[0][0] == reached.seq:
        if batch[0][-1] != reached.sha256:
            return reached, Bad(reached.seq, CHANGED)
        batch = batch[1:]
    for seq, *values, sha256 in batch:
        if seq > reached.seq + 1:
            return reached, Bad(reached.seq + 1, MISSING)
        if seq <= reached.seq:
            return reached, Bad(seq, TWICE)
        if values[-1] != reached.sha256:
            return reached, Bad(seq, UNLINKED)
        if sha256 != _sha256_or_none([seq, *values]):
            return reached, Bad(seq, CHANGED)
        if pin is not None and seq == pin.seq and sha256 != pin.sha256:
            return reached, Bad(seq, NOT_PINNED)
        reached = Link(seq, sha256)
    return reached, None if complete or reached.seq >= aim.seq else Bad(reached.seq + 1, MISSING)


def _read(rows: "models.QuerySet[AuditEntry]", size: int) -> list[tuple[Any, ...]]:
    """Return the values of FIELDS and the hash of the next entries. Raises ValueError for an invalid value."""
    try:
        return list(rows.values_list(*FIELDS, "sha256")[:size])
    except DatabaseError as error:
        if "decode" in str(error):  # SQLite's error for a text that is not UTF-8
            raise ValueError from error
        raise


def _sha256_or_none(values: list[Any]) -> str | None:
    try:
        return _sha256(hashed(values))
    except (ValueError, AttributeError):  # a text that is not Unicode, or an invalid time
        return None


def first_bad_entry() -> Bad | None:
    """Check the whole chain. Return its first fault, or None."""
    return verify().bad


def sentence(entry: AuditEntry) -> str:
    """Return the entry as one sentence of plain text. Use `sentence_html` in HTML."""
    return _fill(entry, actor=entry.actor_name, object=entry.object_name, text=str)


def sentence_html(entry: AuditEntry) -> SafeString:
    """Return the entry as one sentence of HTML, with actor and object in bold and every value escaped."""
    bold = "<b><bdi>{}</bdi></b>"
    filled = _fill(
        entry,
        actor=format_html(bold, entry.actor_name),
        object=format_html(bold, entry.object_name),
        text=conditional_escape,
    )
    return mark_safe(filled)  # noqa: S308 -- registered sentences hold no markup, and each value above is escaped


class _Values(dict[str, str]):
    """The values of one side of an entry; a missing value reads as a dash."""

    def __missing__(self, key: str) -> str:
        return "–"


def _fill(entry: AuditEntry, *, actor: str, object: str, text: Callable[[Any], str]) -> str:
    """Fill the sentence of the entry's action. An action that is no longer registered is shown by its name."""
    before, after = (
        _Values({key: text(value) for key, value in (side if isinstance(side, dict) else {}).items()})
        for side in (entry.before, entry.after)
    )
    template = registry.sentence_of(entry.action)
    if template is None:
        return f"{actor}: {text(entry.action)} {object}"
    return template.format(actor=actor, object=object, before=before, after=after)


SYSTEM_NAMES = [actor.name for actor in (SYSTEM, COMMAND_LINE, SOMEBODY)]
"""The names of the actors that are no persons."""
