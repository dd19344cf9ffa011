"""The first administrator from the environment."""

import pytest
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from promptops.ledger import sentences
from promptops.ledger.audit import SYSTEM
from promptops.ledger.models import AuditEntry
from promptops.management.commands.serve import Command
from promptops.people.actions.first_administrator import make_administrator
from promptops.people.models import User
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db


def test_the_environment_makes_the_first_administrator_and_then_nothing(settings, capsys):
    settings.ADMIN_NAME, settings.ADMIN_PASSWORD = "Root", PASSWORD
    for _ in range(2):
        Command()._make_administrator()
    user = User.objects.get()
    assert (user.username, user.name, user.role) == ("root", "root", "administrator")
    assert user.check_password(PASSWORD)
    (entry,) = AuditEntry.objects.all()
    assert sentences.sentence(entry) == "PromptOps created the administrator root from the environment"
    assert PASSWORD not in str(entry.after)
    assert capsys.readouterr() == ("", "")


def test_an_administrator_who_is_there_stays_the_only_one(administrator):
    assert make_administrator("root", PASSWORD, by=SYSTEM) is None
    assert User.objects.get() == administrator


@pytest.mark.parametrize(
    ("username", "password", "field"), [("root", "hush-hush", "password"), ("no spaces", PASSWORD, "username")]
)
def test_the_usual_rules_hold_and_no_password_is_shown(username, password, field, settings):
    with pytest.raises(ValidationError) as refused:
        make_administrator(username, password, by=SYSTEM)
    assert set(refused.value.message_dict) == {field}
    settings.ADMIN_NAME, settings.ADMIN_PASSWORD = username, password
    with pytest.raises(CommandError, match=f"ADMIN_{'PASSWORD' if field == 'password' else 'NAME'}: ") as stopped:
        Command()._make_administrator()
    assert password not in str(stopped.value)
    assert not User.objects.exists()
