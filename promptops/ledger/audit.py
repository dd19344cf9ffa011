"""The append-only record of who changed what: the `record()`, the hash chain, and the sentences.

Every entry has a gapless number and the SHA-256 of its own canonical JSON, which includes the hash of the entry
before: a changed, missing or inserted entry breaks the chain from there on. Entries commit together with the change
that they tell of, or not at all. Secrets are never handed to `record`; a changed key is told as "changed".
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
from promptops.people.models import User
from promptops.platform import events

if TYPE_CHECKING:
    from promptops.people.models import User

GENESIS = "0" * 64  # what the first entry names as the hash before it
BATCH = 500  # entries that a check or an export reads at once; each may hold two prompts of 64 KiB


@dataclass(frozen=True)
class Actor:
    """Who does something: a person at an address, or the system (`user` None) under a name such as "Command line"."""

    name: str
    user: "User | None" = None
    address: str = ""

    @classmethod
    def person(cls, user: "User", address: str = "") -> "Actor":
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
    """Append one entry inside the caller's transaction and tell open pages at commit.

    Raises UnknownAction for an action that no feature declares (`ledger.registry`), and RuntimeError outside a
    transaction, where a change could commit without its entry.
    """
    registry.action(action)
    if not connection.in_atomic_block:
        raise RuntimeError("audit.record() belongs into the transaction of the change that it tells of.")
    # The row lock keeps numbers gapless and lets each entry see the one before it. (SQLite knows none; there the
    # transaction has been the only writer since it began.)
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
        before=_kept(before),
        after=_kept(after),
        note=note,
        revision=revision,
        previous_sha256=head.sha256,
    )
    entry.sha256 = entry_sha256(entry)
    entry.save(force_insert=True)
    AuditHead.objects.filter(pk=1).update(seq=entry.seq, sha256=entry.sha256)
    events.broadcast_on_commit(events.AUDIT_RECORDED, entry.seq)
    return entry


WHOLE_FROM = 1e16  # from here on Python writes floats with an exponent, which PostgreSQL's JSON does not keep


def _kept(value: Any) -> Any:
    """The value with numbers as every database gives them back: no zero below zero, and large ones as whole numbers.

    Else the hash would not fit what is read.
    """
    if isinstance(value, dict):
        return {key: _kept(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_kept(item) for item in value]
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if abs(value) >= WHOLE_FROM else value + 0.0
    return value


# What the hash of an entry covers, by its name in the canonical JSON; the fields of AuditEntry but for `actor` (an id).
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
    """What the hash covers, of the values of FIELDS; the time is told in UTC with microseconds."""
    told = dict(zip(HASHED, values, strict=True))
    told["at"] = told["at"].astimezone(UTC).isoformat(timespec="microseconds")
    return told


def entry_sha256(entry: AuditEntry) -> str:
    """SHA-256 (hex) of the canonical JSON of every field but the hash itself."""
    return _sha256(hashed(getattr(entry, name) for name in FIELDS))


def _sha256(told: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(told).encode()).hexdigest()


@dataclass(frozen=True)
class Link:
    """A place in the chain: an entry's number and hash, written "12:0a1b…". Kept elsewhere, it is a pin."""

    seq: int = 0
    sha256: str = GENESIS

    def __str__(self) -> str:
        return f"{self.seq}:{self.sha256}"

    @classmethod
    def read(cls, text: str) -> "Link":
        """The place that such a text names, or ValidationError."""
        match = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", text.strip().lower())
        if match is None:
            raise ValidationError(
                "A pin is the number of an entry, a colon and its hash of 64 characters, as this check prints them."
            )
        return cls(int(match[1]), match[2])


@dataclass(frozen=True)
class Bad:
    """What is wrong first: at which number, and a sentence."""

    seq: int
    problem: str

    def __str__(self) -> str:
        return f"Entry {self.seq} {self.problem}"


MISSING = "is missing."
TWICE = "has a number that is used twice, or is below 1."
CHANGED = "was changed: its hash does not fit what it says."
UNLINKED = "does not follow the one before it: one of the two was changed, taken out or put in."
NOT_HEAD = "is the newest one, but not the one that the head of the chain names: one of the two was changed."
BEYOND = "comes after the head of the chain: it was put in, or the head was set back."
CUT = "is missing: the chain ends before the pinned entry. What came after was cut off."
NOT_PINNED = "is not the one that was pinned: the history was rewritten."


@dataclass(frozen=True)
class Verdict:
    """How far a check has come: the last entry that fits, the head of the chain, and what is wrong first, if any."""

    reached: Link
    head: Link
    bad: Bad | None = None

    @property
    def done(self) -> bool:
        return self.bad is not None or self.reached.seq >= self.head.seq


def verify(after: Link = Link(), *, pin: Link | None = None, seconds: float | None = None) -> Verdict:
    """Check the chain from the entry after `after` on, up to its head, for about `seconds` at most (None: to the end).

    A verdict that is not done is carried on with its `reached`. The chain must go through `pin`. Entries are read in
    batches, each a short query of its own: no transaction is held, and others may write meanwhile.
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
    # The entries are read before the head, which moves with them: what is newer than the head then has none.
    newest = AuditEntry.objects.aggregate(newest=Max("seq"))["newest"] or 0
    now = AuditHead.objects.filter(pk=1).first() or AuditHead()
    if newest > now.seq:
        return Verdict(reached, aim, Bad(now.seq + 1, BEYOND))
    if pin is not None and pin.seq > aim.seq:
        return Verdict(reached, aim, Bad(aim.seq + 1, CUT))
    return Verdict(reached, aim)


def _verify_batch(reached: Link, aim: Link, pin: Link | None) -> tuple[Link, Bad | None]:
    """Check the next entries up to `aim`: the last that fits, and what is wrong after it.

    The batch begins with the entry reached, so that a second one of its number is seen.
    """
    rows = AuditEntry.objects.filter(seq__lte=aim.seq).order_by("seq")
    if reached.seq:  # else from the very first row, so that a number below 1 is seen
        rows = rows.filter(seq__gte=reached.seq)
    size = BATCH
    try:
        batch = _read(rows, size)
    except ValueError:  # one of them; the ones before it are checked one at a time
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
    """The values of FIELDS and the hash; ValueError where the database holds what can be no time, text or JSON."""
    try:
        return list(rows.values_list(*FIELDS, "sha256")[:size])
    except DatabaseError as error:
        if "decode" in str(error):  # SQLite's, of what is no UTF-8
            raise ValueError from error
        raise


def _sha256_or_none(values: list[Any]) -> str | None:
    try:
        return _sha256(hashed(values))
    except (ValueError, AttributeError):  # a text that is no Unicode, a time that is none
        return None


def first_bad_entry() -> Bad | None:
    """What is wrong first in the whole chain, or None when it is whole."""
    return verify().bad


def sentence(entry: AuditEntry) -> str:
    """The entry as one plain-text sentence (escape it for HTML, or take `sentence_html`)."""
    return _fill(entry, actor=entry.actor_name, object=entry.object_name, shown=str)


def sentence_html(entry: AuditEntry) -> SafeString:
    """The same sentence as HTML, actor and object in bold; everything that people typed is escaped."""
    bold = "<b><bdi>{}</bdi></b>"
    filled = _fill(
        entry,
        actor=format_html(bold, entry.actor_name),
        object=format_html(bold, entry.object_name),
        shown=conditional_escape,
    )
    return mark_safe(filled)  # noqa: S308 -- registered sentences hold no markup, and each value above is escaped


class _Values(dict[str, str]):
    """The values of one side of an entry; one that the entry does not hold is a dash."""

    def __missing__(self, key: str) -> str:
        return "–"


def _fill(entry: AuditEntry, *, actor: str, object: str, shown: Callable[[Any], str]) -> str:
    """The sentence of the entry's action; an action that a later release no longer registers is told by its name."""
    before, after = (
        _Values({key: shown(value) for key, value in (side if isinstance(side, dict) else {}).items()})
        for side in (entry.before, entry.after)
    )
    template = registry.sentence_of(entry.action)
    if template is None:
        return f"{actor}: {shown(entry.action)} {object}"
    return template.format(actor=actor, object=object, before=before, after=after)


# The parts of the place that act without a person.
SYSTEM_NAMES = [actor.name for actor in (SYSTEM, COMMAND_LINE, SOMEBODY)]
