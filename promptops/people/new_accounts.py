"""The checks of a new account's fields. They change nothing."""

import re
import unicodedata
from collections.abc import Callable

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from promptops.ledger.audit import COMMAND_LINE, SOMEBODY, SYSTEM
from promptops.people.models import User

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
TOKEN_ACTOR = re.compile(r"token\b", re.IGNORECASE)
JOINERS = {"\u200c", "\u200d"}  # parts of names in some scripts


def account_errors(**typed: str) -> dict[str, list[ValidationError]]:
    """Return all errors of the typed fields of a new account, by field: `username`, `name` and `password`.

    A field that is not given is not checked.
    """
    user = User(username=User.normalize_username(typed.get("username", "")), name=typed.get("name", ""))
    errors: dict[str, list[ValidationError]] = {}
    checks: dict[str, Callable[[], object]] = {
        "name": lambda: clean_name(user.name),
        "username": lambda: user.full_clean(exclude={"name", "password"}),
        "password": lambda: validate_password(typed["password"], user),
    }
    for field in filter(typed.__contains__, checks):
        try:
            checks[field]()
        except ValidationError as error:
            named = error.error_dict if hasattr(error, "error_dict") else {field: error.error_list}
            errors |= named
    return errors


def clean_name(name: str) -> str:
    """Return a person's name as the audit can show it, or raise ValidationError.

    Refused: names without a letter or digit, names with control or direction-changing characters, and names of another
    person or of the system.
    """
    name = " ".join(name.split())
    if not any(unicodedata.category(character)[0] in "LN" for character in name):
        raise ValidationError({"name": "Enter a name with at least one letter."})
    if any(unicodedata.category(character) in HIDDEN and character not in JOINERS for character in name):
        raise ValidationError({"name": "The name contains an invisible character. Type it again."})
    if TOKEN_ACTOR.match(name):
        raise ValidationError({"name": 'A name cannot begin with "token": the audit names machines so.'})
    system = {actor.name.casefold() for actor in (COMMAND_LINE, SYSTEM, SOMEBODY)}
    if name.casefold() in system or User.objects.filter(name__iexact=name).exists():
        raise ValidationError({"name": "That name is taken. Add something, such as a second initial."})
    return name
