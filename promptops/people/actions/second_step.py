"""The verbs about the second step of signing in with a password: an app's one-time codes, and recovery codes."""

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from promptops.ledger import audit
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import AuditEntry
from promptops.people import (
    audited,  # noqa: F401 -- declares the audited actions of these verbs
    one_time_codes,
)
from promptops.people.models import RecoveryCode, SecondStep, User
from promptops.platform import crypto

FAILURES = 5
"""Wrong codes of one person, in the time of a lockout, after which no code is tried."""


class WrongCode(Refused):
    """The code is wrong, was used before, or belongs to another time."""

    def __init__(self) -> None:
        super().__init__("That code is wrong or was used already. Wait for the next code in your app and type that.")


class TooManyCodes(Refused):
    """Too many wrong codes; the person has to wait."""

    def __init__(self) -> None:
        minutes = int(settings.AXES_COOLOFF_TIME.total_seconds() // 60)
        super().__init__(f"Too many wrong codes. Wait {minutes} minutes, then try again.")


def turn_on(user: User, secret: str, code: str, *, address: str = "") -> list[str]:
    """Let a person sign in with codes of this secret, and return their recovery codes, which are not stored.

    `code` proves that the app has the secret. Raises WrongCode, TooManyCodes, or Stale if the second step is on.
    """
    if _is_locked(user):
        raise TooManyCodes
    step = one_time_codes.matching_step(secret, one_time_codes.plain_code(code), timezone.now())
    if step is None:
        record_wrong_code(user, address)
        raise WrongCode
    return _turn_on(user, secret, step, address)


@transaction.atomic
def _turn_on(user: User, secret: str, step: int, address: str) -> list[str]:
    user = User.objects.select_for_update().get(pk=user.pk)
    if SecondStep.objects.filter(user=user).exists():
        raise Stale("Your second step is on already.")
    second_step = SecondStep.objects.create(user=user, secret_encrypted=crypto.encrypt(secret), last_step=step)
    codes = _replace_recovery_codes(second_step)
    audit.record("user.second_step_on", by=Actor.person(user, address), object=user)
    return codes


def check_code(user: User, code: str, *, address: str = "") -> None:
    """Accept a code of the app, once. Raises WrongCode or TooManyCodes."""
    if not _accepts_code(user, one_time_codes.plain_code(code)):
        record_wrong_code(user, address)
        raise WrongCode


@transaction.atomic
def _accepts_code(user: User, code: str) -> bool:
    second_step = _unlocked(user)
    if not second_step.secret_encrypted:
        return False
    step = one_time_codes.matching_step(crypto.decrypt(second_step.secret_encrypted), code, timezone.now())
    if step is None:
        return False
    return bool(SecondStep.objects.filter(pk=second_step.pk, last_step__lt=step).update(last_step=step))


def use_recovery_code(user: User, code: str, *, address: str = "") -> int:
    """Accept a recovery code, once, and return how many are left. Raises WrongCode or TooManyCodes."""
    left = _use_recovery_code(user, code, address)
    if left is None:
        record_wrong_code(user, address)
        raise WrongCode
    return left


@transaction.atomic
def _use_recovery_code(user: User, code: str, address: str) -> int | None:
    unused = _unlocked(user).recovery_codes.filter(used_at=None)
    if not unused.filter(code_sha256=one_time_codes.sha256(code)).update(used_at=timezone.now()):
        return None
    left = unused.count()
    audit.record("user.recovery_code_used", by=Actor.person(user, address), object=user, after={"left": left})
    return left


@transaction.atomic
def make_recovery_codes(user: User, *, by: Actor) -> list[str]:
    """Replace a person's recovery codes and return the new ones, which are not stored."""
    codes = _replace_recovery_codes(_present(user))
    audit.record("user.recovery_codes_made", by=by, object=user)
    return codes


@transaction.atomic
def turn_off(user: User, *, by: Actor, note: str = "") -> None:
    """Let a person sign in with the password alone again. Raises Stale if the second step is off."""
    _present(user).delete()
    audit.record("user.second_step_off", by=by, object=user, note=note)


@transaction.atomic
def renew_secrets() -> int:
    """Encrypt all secrets with the current secret key; empty those that no known key decrypts, and return how many.

    An emptied second step stays on: recovery codes work, and an administrator can turn it off.
    """
    lost = 0
    for second_step in SecondStep.objects.exclude(secret_encrypted="").select_for_update():
        try:
            second_step.secret_encrypted = crypto.renew(second_step.secret_encrypted)
        except crypto.UnreadableSecret:
            second_step.secret_encrypted = ""
            lost += 1
        second_step.save(update_fields=["secret_encrypted"])
    return lost


def _present(user: User) -> SecondStep:
    second_step = SecondStep.objects.select_for_update().filter(user=user).first()
    if second_step is None:
        raise Stale(f"The second step of {user.name} is off already.")
    return second_step


def _unlocked(user: User) -> SecondStep:
    """Return the person's locked row, so that codes are tried one at a time. Raises TooManyCodes."""
    second_step = _present(user)
    if _is_locked(user):
        raise TooManyCodes
    return second_step


def _is_locked(user: User) -> bool:
    since = timezone.now() - settings.AXES_COOLOFF_TIME
    wrong = AuditEntry.objects.filter(
        action="user.code_refused", object_type="user", object_id=str(user.pk), at__gt=since
    )
    return wrong.count() >= FAILURES


@transaction.atomic
def record_wrong_code(user: User, address: str) -> None:
    """Record that somebody typed a wrong code for this person."""
    audit.record("user.code_refused", by=Actor(audit.SOMEBODY.name, address=address), object=user)


def _replace_recovery_codes(second_step: SecondStep) -> list[str]:
    codes = one_time_codes.new_recovery_codes()
    second_step.recovery_codes.all().delete()
    RecoveryCode.objects.bulk_create(
        RecoveryCode(second_step=second_step, code_sha256=one_time_codes.sha256(code)) for code in codes
    )
    return codes
