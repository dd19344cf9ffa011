"""Pulling and ending incident levers: the freeze and pass-through. Each is one release, and so is its end.

Restoring an earlier revision belongs to last_good.py.
"""

from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from promptops.fleet.enums import LeverKind
from promptops.fleet.live_part import lever_of
from promptops.fleet.models import Lever
from promptops.ledger import registry, releases
from promptops.ledger.audit import SYSTEM, Actor
from promptops.ledger.errors import Stale
from promptops.ledger.registry import Action
from promptops.ledger.releases import next_revision, record_release
from promptops.live import snapshots as live

registry.noun("lever", "Levers")
registry.object_kind("lever", "Lever")
registry.register(
    Action(
        "lever.pulled",
        "{actor} pulled the lever {object} until {after[until]}",
        when="somebody froze releases, or let the inputs of an operation pass through",
        object="lever",
        passes_freeze=True,
    ),
    Action(
        "lever.ended",
        "{actor} ended the lever {object}",
        when="somebody ended a lever early, or it expired (PromptOps ends it)",
        object="lever",
        passes_freeze=True,
    ),
)

LONGEST = timedelta(hours=24)
SHORTEST = timedelta(minutes=1)
STILL_POSSIBLE = "Levers, turning providers on and off, and a stricter safety filter are still possible."
NO_NOTE = "Type a note that says why. Everybody sees it until the lever ends."
NO_SUCH_TEXT = (
    "{name} cannot pass its input through: only an input of one text, whose answer is no JSON, can go on unpolished."
)


@transaction.atomic
def pull(kind: LeverKind, *, by: Actor, note: str, expires_at: datetime, operation: str = "") -> Lever:
    """Pull a lever until the aware time `expires_at`: one release, which ends by itself.

    Raises ValidationError without a note, for a time that is too early or too late, or for an operation that cannot
    pass through, and Stale if the lever is pulled already.
    """
    revision, now = next_revision(), timezone.now()
    operation = operation.strip() if kind == LeverKind.PASS_THROUGH else ""
    lever = Lever(kind=kind, operation=operation, note=note.strip(), user=by.user, user_name=by.name)
    lever.pulled_at, lever.pulled_revision, lever.expires_at = now, revision, expires_at
    _check(lever, now)
    _end_expired_one(lever, now, revision)
    if pulled := Lever.objects.filter(kind=kind, operation=operation, ended_at=None).first():
        raise Stale(f"{lever_of(pulled).sentence} End that lever first.")
    lever.full_clean(validate_constraints=False)
    lever.save()
    record_release(
        revision,
        "lever.pulled",
        by=by,
        object=lever,
        after={"until": lever_of(lever).until},
        note=lever.note,
    )
    return lever


@transaction.atomic
def end(lever: Lever, *, by: Actor) -> Lever:
    """End a lever before it expires. Raises Stale if it has ended."""
    revision = next_revision()
    if not _end(lever, revision, by=by):
        raise Stale("This lever has already ended.")
    return lever


def end_expired() -> list[Lever]:
    """End the levers that have expired, each by one release, and return those that this call ended.

    Every process calls this. The conditional update lets one of them end a lever.
    """
    return [lever for lever in Lever.objects.filter(ended_at=None, expires_at__lte=timezone.now()) if _end_once(lever)]


def _end_once(lever: Lever) -> bool:
    with transaction.atomic():
        ended = _end(lever, next_revision(), by=SYSTEM)
        if not ended:
            transaction.set_rollback(True)  # the revision belongs to the process that ended it
    return ended


def _end(lever: Lever, revision: int, *, by: Actor) -> bool:
    now = timezone.now()
    ended = Lever.objects.filter(pk=lever.pk, ended_at=None).update(
        ended_at=now, ended_revision=revision, ended_by=by.name
    )
    if not ended:
        return False
    lever.refresh_from_db()
    record_release(
        revision,
        "lever.ended",
        by=by,
        object=lever,
        before={"until": lever_of(lever).until},
        after={"ended": "early" if now < lever.expires_at else "expired"},
    )
    return True


def _end_expired_one(lever: Lever, now: datetime, revision: int) -> None:
    """End an expired lever of this kind that waits for its release: pulling it again is that release."""
    expired = Lever.objects.filter(kind=lever.kind, operation=lever.operation, ended_at=None, expires_at__lte=now)
    expired.update(ended_at=now, ended_revision=revision, ended_by=SYSTEM.name)


def _check(lever: Lever, now: datetime) -> None:
    if not lever.note:
        raise ValidationError({"note": NO_NOTE})
    if not now + SHORTEST <= lever.expires_at <= now + LONGEST:
        hours = LONGEST // timedelta(hours=1)
        raise ValidationError({"until": f"A lever lasts at least 1 minute and at most {hours} hours. Choose a time."})
    if lever.kind == LeverKind.PASS_THROUGH:
        spec = live.current().operations.get(lever.operation)
        if spec is None:
            raise ValidationError({"operation": f"The operation {lever.operation[:40]!r} is unknown or archived."})
        if not spec.can_pass_through:
            raise ValidationError({"operation": NO_SUCH_TEXT.format(name=spec.name)})


def _freeze() -> str:
    """Return who froze releases and until when, and what is still possible; "" without a freeze."""
    held = Lever.objects.filter(kind=LeverKind.FREEZE, ended_at=None, expires_at__gt=timezone.now()).first()
    return f"{lever_of(held).sentence} Wait, or end the freeze. {STILL_POSSIBLE}" if held else ""


releases.FREEZES.append(_freeze)
