"""The append-only record of who changed what: the registry of action names, `record()`, and the hash chain.

Every entry has a gapless number and the SHA-256 of its own canonical JSON, which includes the hash of the entry
before: a changed, missing or inserted entry breaks the chain from there on. Entries commit together with the change
that they tell of, or not at all. Secrets are never handed to `record`; a changed key is told as "changed".
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db import connection, models
from django.db.models import F
from django.utils import timezone
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

from promptops import events
from promptops.models import AuditEntry, AuditHead

if TYPE_CHECKING:
    from promptops.models import User

GENESIS = "0" * 64  # what the first entry names as the hash before it

# Dotted name -> sentence. {actor} and {object} are names; {before[...]} and {after[...]} come from the entry.
ACTIONS: dict[str, str] = {
    "template.created": "{actor} created the template {object} for {after[operation]}",
    "template.described": "{actor} changed the description of {object}",
    "template.made_default": "{actor} made {object} the default for {after[operation]}",
    "template.archived": "{actor} archived {object}",
    "template.restored": "{actor} restored {object} from the archive",
    "template.published": "{actor} published {object} v{after[version]}",
    "template.rolled_back": "{actor} made {object} v{after[version]} live again",
    "provider.created": "{actor} added the provider {object}",
    "provider.edited": "{actor} changed the provider {object}",
    "provider.key_changed": "{actor} changed where the key of {object} comes from",
    "provider.enabled": "{actor} turned {object} on",
    "provider.disabled": "{actor} turned {object} off",
    "provider.removed": "{actor} removed the provider {object}",
    "provider.reordered": "{actor} changed the order of the chain",
    "settings.changed": "{actor} changed the settings",
    "user.created": "{actor} joined as {after[role]}",
    "user.invited": "{actor} made a one-time link for a new {after[role]}",
    "user.invitation_withdrawn": "{actor} withdrew a one-time link for a new {before[role]}",
    "user.role_changed": "{actor} changed {object} from {before[role]} to {after[role]}",
    "user.deactivated": "{actor} deactivated {object}",
    "user.reactivated": "{actor} reactivated {object}",
    "user.password_link_made": "{actor} made a one-time link for {object} to set a new password",
    "user.password_changed": "{actor} set a new password",
    "user.signed_in": "{actor} signed in",
    "user.signed_out": "{actor} signed out",
    "user.sign_in_failed": "Somebody failed to sign in as {object}",
    "user.locked_out": "Sign-in as {object} was locked after too many failures",
    "comparison.started": "{actor} started the comparison {object}: {after[inputs]} inputs of {after[from]}",
    "comparison.paused": "{actor} paused the comparison {object}",
    "comparison.resumed": "{actor} resumed the comparison {object}",
    "comparison.canceled": "{actor} canceled the comparison {object} with {after[waiting]} trials to go",
    "comparison.done": "The comparison {object} is done: {after[trials]} trials, {after[failed]} failed",
    "run.drilled": "{actor} ran a failover drill: {after[drill]}",
    "run.erased": "{actor} erased the text of {object}",
    "run.expired": "{actor} erased the texts of runs older than {after[days]} days ({after[runs]} in all)",
    "prompt_set.created": "{actor} made the prompt set {object} (inputs: {after[inputs]})",
    "prompt_set.changed": "{actor} changed the prompt set {object} (inputs: {before[inputs]} before, {after[inputs]} now)",
    "prompt_set.archived": "{actor} archived the prompt set {object}",
    "prompt_set.restored": "{actor} restored the prompt set {object} from the archive",
    "prompts.exported": "{actor} exported the live prompts (files: {after[files]})",
    "secret_key.replaced": "{actor} replaced the secret key (stored provider keys dropped: {after[keys_lost]})",
}


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

    Raises KeyError for an action that is not registered and RuntimeError outside a transaction, where a change could
    commit without its entry.
    """
    ACTIONS[action]
    if not connection.in_atomic_block:
        raise RuntimeError("audit.record() belongs into the transaction of the change that it tells of.")
    # The update takes the row lock, so that numbers stay gapless and each entry sees the one before it.
    AuditHead.objects.filter(pk=1).update(seq=F("seq") + 1)
    head = AuditHead.objects.get(pk=1)
    entry = AuditEntry(
        seq=head.seq,
        at=timezone.now(),
        action=action,
        actor=by.user,
        actor_name=by.name,
        address=by.address,
        object_type=(object._meta.model_name or "") if object is not None else "",
        object_id=str(object.pk) if object is not None else "",
        object_name=object_name or (str(object) if object is not None else ""),
        before=before,
        after=after,
        note=note,
        revision=revision,
        previous_sha256=head.sha256,
    )
    entry.sha256 = entry_sha256(entry)
    entry.save(force_insert=True)
    AuditHead.objects.filter(pk=1).update(sha256=entry.sha256)
    events.broadcast_on_commit(events.AUDIT_RECORDED, entry.seq)
    return entry


def entry_sha256(entry: AuditEntry) -> str:
    """SHA-256 (hex) of the canonical JSON of every field but the hash itself."""
    at: datetime = entry.at.astimezone(UTC)
    canonical = json.dumps(
        {
            "seq": entry.seq,
            "at": at.isoformat(timespec="microseconds"),
            "action": entry.action,
            "actor": entry.actor_id,
            "actor_name": entry.actor_name,
            "address": entry.address,
            "object_type": entry.object_type,
            "object_id": entry.object_id,
            "object_name": entry.object_name,
            "before": entry.before,
            "after": entry.after,
            "note": entry.note,
            "revision": entry.revision,
            "previous_sha256": entry.previous_sha256,
        },
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


def first_bad_entry() -> AuditEntry | None:
    """The first entry whose number, link or hash is wrong, or None when the chain is whole.

    Entries that are missing at the end are told by one that is not saved and has only the first missing number.
    Others may write meanwhile: the head is read before and after, and must lie on the chain.
    """
    head = AuditHead.objects.get(pk=1)
    expected_seq, previous = 1, GENESIS
    for entry in AuditEntry.objects.order_by("seq").iterator():
        if entry.seq != expected_seq or entry.previous_sha256 != previous or entry.sha256 != entry_sha256(entry):
            return entry
        if entry.seq == head.seq and entry.sha256 != head.sha256:
            return entry
        expected_seq, previous = entry.seq + 1, entry.sha256
    if expected_seq <= head.seq:
        return AuditEntry(seq=expected_seq)
    newest = AuditHead.objects.values_list("seq", flat=True).get(pk=1)
    return AuditEntry.objects.get(seq=newest + 1) if expected_seq > newest + 1 else None


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
    template = ACTIONS.get(entry.action)
    if template is None:
        return f"{actor}: {shown(entry.action)} {object}"
    return template.format(actor=actor, object=object, before=before, after=after)
