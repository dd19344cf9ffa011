"""People: links that work once, roles, deactivation, and that one administrator always stays."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from promptops.ledger.audit import SYSTEM, Actor
from promptops.ledger.errors import LastAdministrator, Refused, Stale
from promptops.ledger.models import AuditEntry, LiveConfiguration
from promptops.people.actions import accounts
from promptops.people.actions.accounts import LinkUsed
from promptops.people.enums import LinkPurpose, Role
from promptops.people.models import OneTimeLink, User
from promptops.people.new_accounts import clean_name

pytestmark = pytest.mark.django_db

PASSWORD = "a long and winding road"
NEW = {"username": "nora", "name": " Nora New ", "password": PASSWORD}


def newest_entry() -> AuditEntry:
    return AuditEntry.objects.first()


def find_link(token: str, purpose: LinkPurpose = LinkPurpose.JOIN) -> OneTimeLink:
    return accounts.find_link(token, purpose)


def test_an_invitation_lets_one_person_in(actor):
    link, token = accounts.invite(Role.EDITOR, by=actor)
    assert (newest_entry().action, newest_entry().after) == ("user.invited", {"role": "editor"})
    user = accounts.join(find_link(token), **NEW, address="192.0.2.9")
    assert (user.role, user.name, user.check_password(PASSWORD)) == ("editor", "Nora New", True)
    entry = newest_entry()
    assert (entry.action, entry.actor, entry.address) == ("user.created", user, "192.0.2.9")
    with pytest.raises(LinkUsed):
        accounts.join(link, **NEW | {"username": "second"})
    with pytest.raises(LinkUsed):
        find_link(token)
    assert not User.objects.filter(username="second").exists()


def test_a_token_is_not_stored(actor, editor):
    tokens = [accounts.invite(Role.EDITOR, by=actor)[1], accounts.make_password_link(editor, by=actor)]
    stored = f"{list(OneTimeLink.objects.values())} {list(AuditEntry.objects.values())}"
    assert not any(token in stored for token in tokens)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"username": "ADA"}, "__all__"),
        ({"username": "no spaces"}, "username"),
        ({"username": ""}, "username"),
        ({"name": " "}, "name"),
        ({"password": "short"}, None),
        ({"password": "1234567890"}, None),
        ({"password": "nora-nora-nora", "username": "nora-nora-nora"}, None),
    ],
)
def test_a_refused_account_leaves_the_link_usable(fields, field, actor):
    _, token = accounts.invite(Role.VIEWER, by=actor)
    with pytest.raises(ValidationError) as refused:
        accounts.join(find_link(token), **NEW | fields)
    assert field is None or field in refused.value.error_dict
    assert newest_entry().action == "user.invited"
    accounts.join(find_link(token), **NEW)


@pytest.mark.parametrize("fault", ["unknown", "expired", "withdrawn", "other purpose"])
def test_a_link_that_does_not_work(fault, actor):
    link, token = accounts.invite(Role.VIEWER, by=actor)
    purpose = LinkPurpose.JOIN
    if fault == "unknown":
        token = "x" * 43
    elif fault == "expired":
        OneTimeLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    elif fault == "withdrawn":
        accounts.withdraw_invitation(link, by=actor)
    else:
        purpose = LinkPurpose.SETUP
    with pytest.raises(LinkUsed):
        accounts.find_link(token, purpose)
    if fault != "unknown" and fault != "other purpose":
        with pytest.raises(LinkUsed):
            accounts.join(link, **NEW)


def test_an_invitation_is_withdrawn_once(actor):
    link, _ = accounts.invite(Role.RELEASER, by=actor)
    accounts.withdraw_invitation(link, by=actor)
    assert (newest_entry().action, newest_entry().before) == ("user.invitation_withdrawn", {"role": "releaser"})
    with pytest.raises(Stale):
        accounts.withdraw_invitation(link, by=actor)


def test_setup_creates_only_the_first_administrator(db):
    first, second = accounts.make_setup_link(), accounts.make_setup_link()
    link, spare = find_link(first, LinkPurpose.SETUP), find_link(second, LinkPurpose.SETUP)
    user = accounts.join(link, **NEW)
    assert user.role == Role.ADMINISTRATOR
    assert accounts.make_setup_link() is None
    with pytest.raises(LinkUsed):
        find_link(second, LinkPurpose.SETUP)
    with pytest.raises(LinkUsed):
        accounts.join(spare, **NEW | {"username": "intruder"})
    assert User.objects.count() == 1


def test_a_change_of_role_is_audited(editor, actor):
    before = LiveConfiguration.objects.get().revision
    accounts.change_role(editor, Role.RELEASER, by=actor, note="on call")
    editor.refresh_from_db()
    assert editor.role == Role.RELEASER
    entry = newest_entry()
    assert (entry.action, entry.before, entry.after) == (
        "user.role_changed",
        {"role": "editor"},
        {"role": "releaser"},
    )
    assert (entry.note, entry.address) == ("on call", "192.0.2.7")
    with pytest.raises(Refused, match="already has the role releaser"):
        accounts.change_role(editor, Role.RELEASER, by=actor)
    assert LiveConfiguration.objects.get().revision == before  # people are not part of the live configuration


@pytest.mark.parametrize("act", ["demote", "deactivate"])
@pytest.mark.parametrize("other", ["none", "deactivated", "active"])
def test_one_active_administrator_always_stays(act, other, administrator, actor, make_user):
    if other != "none":
        second = make_user(Role.ADMINISTRATOR, "second")
        if other == "deactivated":
            accounts.deactivate(second, by=actor)
    entries = AuditEntry.objects.count()

    def remove():
        if act == "demote":
            accounts.change_role(administrator, Role.EDITOR, by=actor)
        else:
            accounts.deactivate(administrator, by=actor)

    if other == "active":
        remove()
        assert not User.objects.get(pk=administrator.pk).may("administer")
    else:
        with pytest.raises(LastAdministrator):
            remove()
        assert User.objects.get(pk=administrator.pk).may("administer")
        assert AuditEntry.objects.count() == entries


def test_a_deactivated_person_cannot_sign_in_until_reactivated(editor, actor):
    token = accounts.make_password_link(editor, by=actor)
    accounts.deactivate(editor, by=actor, note="left")
    assert (newest_entry().action, newest_entry().note) == ("user.deactivated", "left")
    with pytest.raises(LinkUsed):
        find_link(token, LinkPurpose.PASSWORD)
    with pytest.raises(Stale):
        accounts.deactivate(editor, by=actor)
    with pytest.raises(Refused, match="deactivated"):
        accounts.make_password_link(editor, by=actor)
    accounts.reactivate(editor, by=actor, note="is back")
    assert (newest_entry().action, newest_entry().note) == ("user.reactivated", "is back")
    assert User.objects.get(pk=editor.pk).is_active
    with pytest.raises(Stale):
        accounts.reactivate(editor, by=actor)


def test_a_password_link_sets_a_password_once(editor, actor):
    earlier = accounts.make_password_link(editor, by=actor)
    token = accounts.make_password_link(editor, by=actor)
    assert newest_entry().action == "user.password_link_made"
    with pytest.raises(LinkUsed):
        find_link(earlier, LinkPurpose.PASSWORD)
    link = find_link(token, LinkPurpose.PASSWORD)
    with pytest.raises(ValidationError):
        accounts.set_password_by_link(link, "short")
    accounts.set_password_by_link(link, PASSWORD, address="192.0.2.9")
    assert User.objects.get(pk=editor.pk).check_password(PASSWORD)
    assert (newest_entry().action, newest_entry().actor, newest_entry().address) == (
        "user.password_changed",
        editor,
        "192.0.2.9",
    )
    with pytest.raises(LinkUsed):
        accounts.set_password_by_link(link, PASSWORD)


@pytest.mark.parametrize(
    ("username", "record", "action", "name"),
    [
        ("EDDIE", accounts.record_failed_sign_in, "user.sign_in_failed", "eddie"),
        ("eddie", accounts.record_lockout, "user.locked_out", "eddie"),
        ("my password by mistake", accounts.record_failed_sign_in, "user.sign_in_failed", "an unknown name"),
    ],
)
def test_failed_sign_ins_are_audited_without_unknown_names(username, record, action, name, editor):
    record(username, address="192.0.2.9")
    entry = newest_entry()
    assert (entry.action, entry.object_name, entry.actor_name, entry.address) == (action, name, "Somebody", "192.0.2.9")
    assert "mistake" not in str(AuditEntry.objects.values())


def test_a_lockout_is_audited_once_for_each_name_and_address(editor):
    for username, address in [
        ("eddie", "192.0.2.9"),
        ("EDDIE", "192.0.2.9"),
        ("eddie", "192.0.2.8"),
        ("x", "192.0.2.9"),
    ]:
        accounts.record_lockout(username, address=address)
        accounts.record_lockout(username, address=address)
    assert AuditEntry.objects.filter(action="user.locked_out").count() == 3


def test_many_failures_from_one_address_stop_sign_ins_there_except_for_people_known_there(editor):
    for number in range(accounts.FAILURES_PER_ADDRESS):
        assert not accounts.too_many_failures("eddie", "192.0.2.9")
        accounts.record_failed_sign_in(f"somebody{number}", address="192.0.2.9")
    assert accounts.too_many_failures("eddie", "192.0.2.9")
    assert not accounts.too_many_failures("eddie", "192.0.2.8")
    accounts.record_sign_in(editor, address="192.0.2.9")
    assert not accounts.too_many_failures("EDDIE", "192.0.2.9")
    assert accounts.too_many_failures("somebody", "192.0.2.9")


@pytest.mark.parametrize("end", ["deactivate", "demote"])
def test_a_former_administrator_cannot_come_back_with_an_old_link(end, make_user):
    leaving, staying = make_user("administrator", "ada2"), make_user("administrator", "grace")
    by = Actor.person(leaving)
    _, invitation = accounts.invite("administrator", by=by)
    password = accounts.make_password_link(staying, by=by)
    if end == "deactivate":
        accounts.deactivate(leaving, by=Actor.person(staying))
    else:
        accounts.change_role(leaving, "viewer", by=Actor.person(staying))
    for token, purpose in [(invitation, LinkPurpose.JOIN), (password, LinkPurpose.PASSWORD)]:
        with pytest.raises(LinkUsed):
            accounts.find_link(token, purpose)


def test_a_new_password_deletes_older_password_links(editor):
    token = accounts.make_password_link(editor, by=SYSTEM)
    accounts.change_password(editor, PASSWORD)
    with pytest.raises(LinkUsed):
        accounts.find_link(token, LinkPurpose.PASSWORD)


@pytest.mark.parametrize(
    "name", ["", "  ", "\u200b", "...", "Ada\u202eecarG", "Ada\x07", "PromptOps", "command LINE", "eddie EDITOR"]
)
def test_names_that_would_deceive_are_refused(name, editor):
    with pytest.raises(ValidationError):
        clean_name(name)


@pytest.mark.parametrize("name", ["Ada  Lovelace ", "Zoë", "王小明", "محمد", "नीरज शर्मा", "O'Brien-Smith"])
def test_real_names_of_people_are_accepted(name, db):
    assert clean_name(name) == " ".join(name.split())
