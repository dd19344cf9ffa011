"""The append-only record of changes: recording an entry, with its number and its hash.

Entries are numbered without a gap. Each has the SHA-256 of its canonical JSON, which includes the hash of the entry
before it, so a changed, missing or inserted entry breaks the chain. An entry commits together with the change that it
records, or not at all. Callers pass no secrets: of a changed key, an entry says only that the key changed.

Actions are declared in `registry`. The check of the chain belongs to `chain`, entries as sentences to `sentences`, and
the list, its filters and its pages to `history`.
"""

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from django.db import connection, models
from django.utils import timezone

from promptops.ledger import registry
from promptops.ledger.models import AuditEntry, AuditHead
from promptops.platform import events

if TYPE_CHECKING:
    from promptops.people.models import User

ACTOR_CHARACTERS = 100  # of AuditEntry.actor_name
GENESIS = "0" * 64  # the previous hash of the first entry
BATCH = 500  # entries that a check or an export reads at a time; each may hold two prompts of 64 KiB


@dataclass(frozen=True)
class Actor:
    """A person at an address, a token, or a part of PromptOps (neither) under a name such as "Command line"."""

    name: str
    user: "User | None" = None
    address: str = ""
    token: int | None = None
    """The id of the token that acts. Its `name` is "token NAME, made by PERSON"."""
    request_id: str = ""
    """The id of the request of a machine. Its log lines and its answer have the same."""

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
        token_id=by.token,
        request_id=by.request_id or None,
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


# The values that the hash covers, by their names in the canonical JSON: the fields of AuditEntry (`actor` and `token`
# are ids).
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
    "token",
    "request_id",
    "previous_sha256",
)
LATER = ("token", "request_id")
"""The values that entries of earlier releases lack. The canonical JSON leaves them out where there are none."""
FIELDS = tuple(f"{name}_id" if name in {"actor", "token"} else name for name in HASHED)
canonical_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
"""JSON with sorted keys, no spaces, and characters as they are."""


def hashed(values: Iterable[Any]) -> dict[str, Any]:
    """Return the values of FIELDS by their names in the canonical JSON; the time is in UTC with microseconds."""
    by_name = dict(zip(HASHED, values, strict=True))
    by_name["at"] = by_name["at"].astimezone(UTC).isoformat(timespec="microseconds")
    return {name: value for name, value in by_name.items() if value is not None or name not in LATER}


def entry_sha256(entry: AuditEntry) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of every field except the hash itself."""
    return sha256_of(hashed(getattr(entry, name) for name in FIELDS))


def entry_values(entry: AuditEntry) -> dict[str, Any]:
    """Return an entry as exports have it: the values that its hash covers, and the hash."""
    return hashed(getattr(entry, name) for name in FIELDS) | {"sha256": entry.sha256}


def sha256_of(values: dict[str, Any]) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of these values."""
    return hashlib.sha256(canonical_json(values).encode()).hexdigest()


SYSTEM_NAMES = [actor.name for actor in (SYSTEM, COMMAND_LINE, SOMEBODY)]
"""The names of the actors that are no persons."""
