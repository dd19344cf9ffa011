"""The check of the audit's hash chain, with pins and the first fault.

Recording an entry and its hash belong to audit.py.
"""

import re
import time
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DatabaseError, models
from django.db.models import Max

from promptops.ledger import audit
from promptops.ledger.audit import FIELDS, GENESIS, hashed, sha256_of
from promptops.ledger.models import AuditEntry, AuditHead


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
    size = audit.BATCH
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
        return sha256_of(hashed(values))
    except (ValueError, AttributeError):  # a text that is not Unicode, or an invalid time
        return None


def first_bad_entry() -> Bad | None:
    """Check the whole chain. Return its first fault, or None."""
    return verify().bad
