"""The verb of a start without a browser: the first administrator from the environment."""

from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.db import transaction

from promptops.ledger import audit
from promptops.ledger.audit import Actor
from promptops.ledger.models import LiveConfiguration
from promptops.people import (
    audited,  # noqa: F401 -- declares the audited actions of these verbs
    new_accounts,
)
from promptops.people.enums import Role
from promptops.people.models import User, canonical_username


def make_administrator(username: str, password: str, *, by: Actor) -> User | None:
    """Create the first administrator, or return None if there is an active one already.

    The user name is also the name. Raises ValidationError for the fields `username` and `password`.
    """
    if User.objects.filter(role=Role.ADMINISTRATOR, is_active=True).exists():
        return None
    username = canonical_username(username) or username
    if errors := new_accounts.account_errors(username=username, password=password):
        raise ValidationError(errors)
    return _make_administrator(username, make_password(password), by)


@transaction.atomic
def _make_administrator(username: str, hashed: str, by: Actor) -> User | None:
    # Locked, so that two processes that start at once make one administrator.
    LiveConfiguration.objects.select_for_update().get(pk=1)
    if User.objects.filter(role=Role.ADMINISTRATOR, is_active=True).exists():
        return None
    user = User(username=username, name=username, role=Role.ADMINISTRATOR, password=hashed)
    user.name = new_accounts.clean_name(username)
    user.full_clean()
    user.save()
    after = {"username": user.username, "name": user.name, "role": user.role}
    audit.record("user.administrator_made", by=by, object=user, after=after)
    return user
