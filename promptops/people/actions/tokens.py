"""The verbs about tokens: making, rotating and revoking them. Verifying a token is in `people.tokens`.

The text of a token is returned once and stored nowhere.
"""

import secrets
from collections.abc import Collection
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import Error, transaction
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from promptops.ledger import audit, registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import AuditHead
from promptops.ledger.registry import Action
from promptops.people import tokens
from promptops.people.enums import Scope
from promptops.people.models import Token
from promptops.platform import background

MOST_TOKENS = 1_000
"""Usable tokens of an installation. All of them may be in the memory of each process."""
MOST_DAYS = 3_650
OVERLAP_DAYS = 7
"""Seconds for which a rotated token works beside the new one, unless an administrator says otherwise."""
MOST_OVERLAP_DAYS = 90
USES_SECONDS = 60.0
"""Seconds between two writes of the last uses."""

registry.noun("token", "Tokens")
registry.object_kind("token", "Token", url=lambda entry: reverse("tokens"))
registry.value_labels({"scopes": "Scopes", "expires_at": "Expires"})
registry.register(
    Action("token.made", "{actor} made the token {object}", when="a token for a machine was made", object="token"),
    Action(
        "token.rotated",
        "{actor} rotated the token {object}; the older one works until {after[older_works_until]}",
        when="a token was replaced by a new one; the entry says how long the older one still works",
        object="token",
    ),
    Action(
        "token.revoked",
        "{actor} revoked the token {object}",
        when="a token was revoked; it opens nothing from then on",
        object="token",
    ),
)


@transaction.atomic
def make_token(
    name: str, scopes: Collection[str], *, by: Actor, server: str = "", days: int | None = None
) -> tuple[Token, str]:
    """Make a token and return it with its text, which is not stored. `days` is its lifetime; None: without an end.

    Raises ValidationError for a field, and Refused for a name that a usable token has.
    """
    AuditHead.objects.select_for_update().get(pk=1)  # two tokens of one name cannot be made at once
    now = timezone.now()
    usable = Token.objects.filter(_usable(now))
    if usable.filter(name__iexact=name).exists():
        raise Refused(f"There is a usable token {name} already. Rotate or revoke it, or choose another name.")
    if usable.count() >= MOST_TOKENS:
        raise Refused(f"There are {MOST_TOKENS:,} usable tokens. Revoke those that nobody uses.")
    token, text = _new(name, scopes, server, _end(now, days), by)
    _save(token)
    _record("token.made", token, by=by, after=_audit_values(token))
    return token, text


@transaction.atomic
def rotate_token(
    token: Token, *, by: Actor, overlap_days: int = OVERLAP_DAYS, days: int | None = None
) -> tuple[Token, str]:
    """Make a new token with the name, scopes and server of `token`, which works `overlap_days` longer.

    Return the new token and its text. Raises Stale for a token that is revoked, expired or rotated already.
    """
    if not 0 <= overlap_days <= MOST_OVERLAP_DAYS:
        raise ValidationError({"overlap_days": f"Use 0 to {MOST_OVERLAP_DAYS} days for the overlap."})
    older, now = _locked(token), timezone.now()
    if Token.objects.filter(replaces=older).exists():
        raise Stale(f"The token {older.name} was rotated already. Rotate the new one.")
    newer, text = _new(older.name, older.scopes, older.server, _end(now, days), by)
    newer.replaces = older
    _save(newer)
    end = now + timedelta(days=overlap_days)
    before = _audit_values(older)
    older.expires_at = min(end, older.expires_at or end)
    older.save(update_fields=["expires_at"])
    until = f"{older.expires_at:%Y-%m-%d %H:%M} UTC"
    _record("token.rotated", newer, by=by, before=before, after=_audit_values(newer) | {"older_works_until": until})
    _changed(older, newer.changed_in)
    return newer, text


@transaction.atomic
def revoke_token(token: Token, *, by: Actor, note: str = "") -> Token:
    """Revoke a token: it opens nothing, and its connections end. Raises Stale if it is unusable already."""
    token = _locked(token)
    token.revoked_at = timezone.now()
    token.save(update_fields=["revoked_at"])
    _record("token.revoked", token, by=by, before=_audit_values(token), note=note)
    return token


def record_uses() -> int:
    """Write when tokens were last used, in one statement with the newest of the times. Return how many were used."""
    uses = tokens.take_uses()
    if not uses:
        return 0
    newest = max(uses.values())
    earlier = Q(last_used_at=None) | Q(last_used_at__lt=newest)
    try:
        Token.objects.filter(earlier, pk__in=uses).update(last_used_at=newest)
    except Error:
        tokens.give_back_uses(uses)
        raise
    return len(uses)


@background.task
async def _keep_recording_uses() -> None:
    """Write last uses for ever."""
    await tokens.for_ever(USES_SECONDS, record_uses, in_thread=True)


def _usable(now: datetime) -> Q:
    return Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now))


def _locked(token: Token) -> Token:
    """Return the current row, if it is usable."""
    AuditHead.objects.select_for_update().get(pk=1)
    token = Token.objects.get(pk=token.pk)
    if token.revoked_at:
        raise Stale(f"The token {token.name} was revoked already.")
    if not token.is_usable(timezone.now()):
        raise Stale(f"The token {token.name} has expired already.")
    return token


def _end(now: datetime, days: int | None) -> datetime | None:
    if days is None:
        return None
    if not 1 <= days <= MOST_DAYS:
        raise ValidationError({"days": f"Use 1 to {MOST_DAYS:,} days, or leave it empty for a token without an end."})
    return now + timedelta(days=days)


def _new(name: str, scopes: Collection[str], server: str, expires_at: datetime | None, by: Actor) -> tuple[Token, str]:
    chosen = [scope for scope in Scope.values if scope in scopes]
    if not chosen or len(chosen) < len(set(scopes)):
        raise ValidationError({"scopes": f"Choose one or more of {', '.join(Scope.values)}."})
    text = tokens.PREFIX + secrets.token_urlsafe(32)
    token = Token(
        name=name,
        token_sha256=tokens.sha256_of(text),
        scopes=chosen,
        server=server,
        made_by=by.user,
        made_by_name=by.name,
        expires_at=expires_at,
    )
    return token, text


def _save(token: Token) -> None:
    token.full_clean(exclude=["replaces"])
    token.save(force_insert=True)


def _record(action: str, token: Token, **values: object) -> None:
    entry = audit.record(action, object=token, **values)  # type: ignore[arg-type]
    _changed(token, entry.seq)


def _changed(token: Token, entry: int) -> None:
    """Let every process drop the token. The numbers of entries grow in the order of commits."""
    token.changed_in = entry
    token.save(update_fields=["changed_in"])
    transaction.on_commit(lambda: tokens.forget(token.pk), robust=True)


def _audit_values(token: Token) -> dict[str, object]:
    return {
        "scopes": token.scopes,
        "server": token.server,
        "expires_at": token.expires_at.isoformat(timespec="seconds") if token.expires_at else None,
    }
