"""Tokens in memory: who calls, asked for each request and each socket. Making and revoking are in `actions.tokens`.

A verified token stays in memory, so that requests need no database, also while it is unavailable. Every process drops a
token that was revoked or changed: at once if it made the change itself, else at its next look at the database.
"""

import asyncio
import contextlib
import hashlib
import logging
import re
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import Error
from django.db.models import Subquery
from django.utils import timezone

from promptops.ledger.audit import ACTOR_CHARACTERS, Actor
from promptops.live import polling
from promptops.people.enums import Scope
from promptops.people.models import Token
from promptops.platform import background
from promptops.platform.threads import in_background

log = logging.getLogger(__name__)

PREFIX = "po_"
TEXT = re.compile(r"po_[A-Za-z0-9_-]{43}")

OFFLINE_SECONDS = 300.0
"""Seconds for which a verified token works without the database."""
RECHECK_SECONDS = 10.0
"""All tokens in memory are read again this often, in one query: a restored backup may not have them."""
EXPIRY_SECONDS = 1.0
"""Seconds between two searches for sockets of expired tokens."""
UNKNOWN_SECONDS = 10.0
UNKNOWN_KEPT = 1_024
"""Refused tokens in memory, so that a client that repeats a wrong one costs no query."""
MOST_WAITING = 100
"""Requests that wait for the database to verify a token."""


class InvalidToken(Exception):
    """The token opens nothing. The message is the sentence for the caller."""


class TokensUnavailable(Exception):
    """The token cannot be verified now, because the database is unavailable or busy."""

    def __init__(self) -> None:
        super().__init__("The server cannot verify your token at the moment. Try again in a few seconds.")


MALFORMED = "The token is malformed. A token begins with po_ and has 46 characters."
UNKNOWN = "The token is unknown. Copy it again, or ask an administrator for a new one."
REVOKED_SENTENCE = "The token was revoked. Ask an administrator for a new one."


@dataclass(frozen=True)
class TokenIdentity:
    """A verified token."""

    id: int
    name: str
    scopes: frozenset[Scope]
    server: str
    """The only server that may use it; "" for any."""
    made_by: str
    expires_at: datetime | None

    def actor(self, address: str, request_id: str = "") -> Actor:
        """Return the token as the audit names it."""
        return Actor(actor_name(self.name, self.made_by), address=address, token=self.id, request_id=request_id)

    @property
    def is_expired(self) -> bool:
        """Return whether the token has expired."""
        return self.expires_at is not None and self.expires_at <= timezone.now()


@dataclass(frozen=True)
class _Verified:
    identity: TokenIdentity
    at: float
    """When the database last confirmed it, in seconds of `time.monotonic`."""


REVOKED: list[Callable[[int], None]] = []
"""Called in the event loop with the id of a token that was revoked, changed or has expired. Sockets of it close."""

_verified: dict[str, _Verified] = {}
_refused: "OrderedDict[str, tuple[float, str]]" = OrderedDict()
_used: dict[int, datetime] = {}
_loops: "weakref.WeakSet[asyncio.AbstractEventLoop]" = weakref.WeakSet()
_changes = 0  # counts what `forget` dropped, so that an answer from before it is not stored
_waiting = 0


def actor_name(name: str, made_by: str) -> str:
    """Return the name of a token as an actor. A long name of a person is cut to the audit's limit."""
    start = f"token {name}, made by "
    room = ACTOR_CHARACTERS - len(start)
    return start + (made_by if len(made_by) <= room else f"{made_by[: room - 1]}…")


def sha256_of(text: str) -> str:
    """Return the SHA-256 (hex) of a token's text, which is all that is stored of it."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def remembered(text: str) -> TokenIdentity | None:
    """Return the token if memory suffices to verify it. Raises InvalidToken for one that was refused lately."""
    if not TEXT.fullmatch(text):
        raise InvalidToken(MALFORMED)
    key = sha256_of(text)
    known = _verified.get(key)
    if known is not None and time.monotonic() - known.at < OFFLINE_SECONDS:
        if known.identity.is_expired:
            raise InvalidToken(_expired(known.identity.expires_at))
        return known.identity
    until, sentence = _refused.get(key, (0.0, ""))
    if time.monotonic() < until:
        raise InvalidToken(sentence)
    return None


async def verify(text: str) -> TokenIdentity:
    """Return the token with this text. Raises InvalidToken, or TokensUnavailable without the database.

    A token in memory needs no database, for OFFLINE_SECONDS after the database last confirmed it.
    """
    global _waiting
    _loops.add(asyncio.get_running_loop())
    identity = remembered(text)
    if identity is None:
        if _waiting >= MOST_WAITING:
            raise TokensUnavailable
        _waiting += 1
        try:
            identity = await _ask(sha256_of(text))
        except Error as error:
            log.warning("A token could not be verified.", exc_info=error)
            raise TokensUnavailable from None
        finally:
            _waiting -= 1
    _used[identity.id] = timezone.now()
    return identity


async def _ask(key: str) -> TokenIdentity:
    while True:
        before = _changes
        row = await in_background(_row, key)
        if before == _changes:  # else the token may have been revoked since
            break
    refusal = _refusal(row)
    if refusal or row is None:
        _refused[key] = (time.monotonic() + UNKNOWN_SECONDS, refusal or UNKNOWN)
        _refused.move_to_end(key)
        while len(_refused) > UNKNOWN_KEPT:
            _refused.popitem(last=False)
        raise InvalidToken(refusal or UNKNOWN)
    identity = _identity(row)
    _verified[key] = _Verified(identity, time.monotonic())
    return identity


def _row(key: str) -> Token | None:
    return Token.objects.filter(token_sha256=key).first()


def _identity(row: Token) -> TokenIdentity:
    scopes = frozenset(Scope(scope) for scope in row.scopes if scope in Scope.values)
    return TokenIdentity(row.pk, row.name, scopes, row.server, row.made_by_name, row.expires_at)


def _refusal(row: Token | None) -> str:
    """Return why the token opens nothing; "" if it is usable."""
    if row is None:
        return UNKNOWN
    if row.revoked_at:
        return REVOKED_SENTENCE
    return "" if row.is_usable(timezone.now()) else _expired(row.expires_at)


def _expired(at: datetime | None) -> str:
    return f"The token expired at {at:%Y-%m-%d %H:%M} UTC. Ask an administrator for a new one."


def forget(id: int) -> None:
    """Drop a token that was revoked or changed in the database. Its sockets close. Callable from any thread."""
    global _changes
    _changes += 1
    for key in [key for key, known in tuple(_verified.items()) if known.identity.id == id]:
        _verified.pop(key, None)
    for loop in tuple(_loops):
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_tell, id)


def forget_all() -> None:
    """Forget everything, for tests."""
    _verified.clear()
    _refused.clear()
    _used.clear()


def _tell(id: int) -> None:
    for callback in tuple(REVOKED):
        try:
            callback(id)
        except Exception:
            log.exception("A connection of a revoked token could not be closed.")


def forget_expired() -> None:
    """Drop the tokens that have expired, so that their sockets close."""
    for known in tuple(_verified.values()):
        if known.identity.is_expired:
            forget(known.identity.id)


def recheck() -> None:
    """Read all tokens in memory again, and drop those that are gone, revoked or changed."""
    before = dict(_verified)
    rows = {row.token_sha256: row for row in Token.objects.filter(token_sha256__in=before)} if before else {}
    now = time.monotonic()
    for key, known in before.items():
        row = rows.get(key)
        if row is None or _refusal(row) or _identity(row) != known.identity:
            forget(known.identity.id)
        elif key in _verified:
            _verified[key] = _Verified(known.identity, now)


def take_uses() -> dict[int, datetime]:
    """Return when each token was last used since the call before, by id."""
    uses: dict[int, datetime] = {}
    while _used:
        with contextlib.suppress(KeyError):  # dicts of other threads shrink
            id, at = _used.popitem()
            uses[id] = at
    return uses


def give_back_uses(uses: dict[int, datetime]) -> None:
    """Take back uses that could not be written."""
    for id, at in uses.items():
        _used.setdefault(id, at)


def _newest_change() -> Any:
    return Subquery(Token.objects.order_by("-changed_in").values("changed_in")[:1])


async def _drop_changed(old: int, new: int, in_thread: polling.InThread) -> None:
    """Read the tokens in memory again. Those that only have been made since stay, and so do their connections."""
    if _verified:
        await in_thread(recheck)


polling.watch(
    "tokens", polling.Watch(query=_newest_change, parse=lambda number: int(number or 0), changed=_drop_changed)
)


async def for_ever(seconds: float, work: Callable[[], object], *, in_thread: bool) -> None:
    """Do the work at this interval, for ever. While the database is unavailable, retry."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await in_background(work) if in_thread else work()
        except Error as error:
            log.warning("Tokens could not be read or written.", exc_info=error)


@background.task
async def close_expired() -> None:
    """Look for expired tokens for ever."""
    await for_ever(EXPIRY_SECONDS, forget_expired, in_thread=False)


@background.task
async def keep_rechecking() -> None:
    """Read the tokens in memory again, for ever."""
    await for_ever(RECHECK_SECONDS, recheck, in_thread=True)
