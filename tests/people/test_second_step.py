"""The second step of signing in with a password: one-time codes, recovery codes, and who must have it."""

import re
from datetime import UTC, datetime

import pyotp
import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import resolve, reverse

from promptops.ledger import sentences
from promptops.ledger.audit import SYSTEM
from promptops.ledger.models import AuditEntry
from promptops.people import one_time_codes
from promptops.people.actions import accounts, second_step
from promptops.people.actions.second_step import TooManyCodes, WrongCode
from promptops.people.enums import Role
from promptops.people.models import RecoveryCode, SecondStep, User
from promptops.platform import crypto
from promptops.site.actions import replace_secret_key
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db

SECRET = pyotp.random_base32()
NOON = datetime(2026, 11, 28, 12, 0, 15, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The time of codes: `clock.to(seconds)` after noon. The rest of the product keeps its clock."""

    class Clock:
        now = NOON

        def to(self, seconds: int) -> None:
            self.now = datetime.fromtimestamp(NOON.timestamp() + seconds, UTC)

        def code(self, off: int = 0, secret: str = SECRET) -> str:
            return pyotp.TOTP(secret).at(int(self.now.timestamp()) + 30 * off)

    clock = Clock()
    match = one_time_codes.matching_step
    monkeypatch.setattr(one_time_codes, "matching_step", lambda secret, code, now: match(secret, code, clock.now))
    return clock


@pytest.fixture
def codes(editor, clock) -> list[str]:
    """Turn on the editor's second step with a code of two minutes ago; return the recovery codes."""
    clock.to(-120)
    codes = second_step.turn_on(editor, SECRET, clock.code())
    clock.to(0)
    return codes


def actions(user: User) -> list[str]:
    entries = AuditEntry.objects.filter(object_type="user", object_id=str(user.pk)).order_by("seq")
    return [entry.action.removeprefix("user.") for entry in entries]


def with_password(user: User, target: str = "/") -> Client:
    client = Client()
    form = {"username": user.username, "password": PASSWORD, "next": target}
    assert client.post(reverse("sign_in"), form).status_code == 302
    return client


def is_in(client: Client) -> bool:
    return client.get(reverse("sessions")).status_code == 200


@pytest.mark.parametrize(
    ("off", "is_accepted"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)], ids="{:+}".format
)
def test_a_code_may_be_one_step_off(off, is_accepted):
    code = pyotp.TOTP(SECRET).at(int(NOON.timestamp()) + 30 * off)
    assert (one_time_codes.matching_step(SECRET, code, NOON) is not None) is is_accepted


@pytest.mark.parametrize("typed", ["", "12345", "abcdef", "1234567", "\u0661\u0662\u0663\u0664\u0665\u0666", "1 2"])
def test_text_that_is_no_code_is_refused(typed):
    assert one_time_codes.matching_step(SECRET, one_time_codes.plain_code(typed), NOON) is None


def test_a_code_counts_once_and_earlier_ones_no_more(editor, codes, clock):
    second_step.check_code(editor, f" {clock.code()[:3]} {clock.code()[3:]} ")
    for code in (clock.code(), clock.code(-1)):
        with pytest.raises(WrongCode):
            second_step.check_code(editor, code)
    second_step.check_code(editor, clock.code(1))


def test_each_recovery_code_counts_once(editor, codes):
    assert len(set(codes)) == 10
    assert second_step.use_recovery_code(editor, codes[0].upper().replace("-", " ")) == 9
    with pytest.raises(WrongCode):
        second_step.use_recovery_code(editor, codes[0])
    (entry,) = AuditEntry.objects.filter(action="user.recovery_code_used")
    assert sentences.sentence(entry) == "Eddie Editor signed in with a recovery code; 9 are left"


def test_nothing_secret_is_stored_in_plain_text(editor, codes):
    stored = str([*SecondStep.objects.values(), *RecoveryCode.objects.values(), *AuditEntry.objects.values()])
    for secret in (SECRET, *codes, *(code.replace("-", "") for code in codes)):
        assert secret not in stored
    assert crypto.decrypt(editor.second_step.secret_encrypted) == SECRET


def test_after_five_wrong_codes_no_code_is_tried_not_even_the_right_one(editor, viewer, codes, clock):
    client = with_password(editor)
    url = reverse("second_step")
    assert [client.post(url, {"code": f"{n}" * 6}).status_code for n in range(5)] == [422] * 5
    assert client.post(url, {"code": clock.code()}).status_code == 429
    with pytest.raises(TooManyCodes):
        second_step.use_recovery_code(editor, codes[0])
    assert not is_in(client)
    assert actions(editor).count("code_refused") == 5
    second_step.turn_on(viewer, SECRET, clock.code())  # others can go on


def test_signing_in_asks_for_the_code_and_then_goes_where_the_person_wanted(editor, codes, clock):
    client = with_password(editor, "/prompts/?q=fox")
    assert not is_in(client)
    assert "signed_in" not in actions(editor)
    page = client.get(reverse("second_step"))
    assert (page.status_code, page["Cache-Control"].count("no-store")) == (200, 1)
    key = client.cookies["sessionid"].value
    response = client.post(reverse("second_step"), {"code": clock.code()})
    assert (response.status_code, response["Location"]) == (302, "/prompts/?q=fox")
    assert is_in(client)
    assert client.cookies["sessionid"].value != key
    assert actions(editor)[-1] == "signed_in"
    assert client.get(reverse("second_step"))["Location"] == reverse("sign_in")


@pytest.mark.parametrize("change", ["password", "deactivated", "late", "none"])
def test_an_attempt_ends_with_its_reason(editor, codes, clock, change, monkeypatch):
    client = with_password(editor) if change != "none" else Client()
    if change == "password":
        accounts.change_password(editor, "another long secret")
    elif change == "deactivated":
        accounts.deactivate(editor, by=SYSTEM)
    elif change == "late":
        now = 1e10
        monkeypatch.setattr("promptops.people.views.entering.time.time", lambda: now)
    response = client.post(reverse("second_step"), {"code": clock.code()})
    assert (response.status_code, response["Location"]) == (302, reverse("sign_in"))
    assert not is_in(client)


def test_a_person_turns_it_on_and_off_on_their_own_page(editor, client_for, clock):
    client = client_for(editor)
    url = reverse("second_step_own")
    page = client.get(url).content.decode()
    secret = re.search(r'<code id="secret">(.*?)</code>', page)[1].replace(" ", "")
    assert "<svg" in page
    assert "style=" not in page.split("<svg")[1].split("</svg>")[0]
    assert client.post(url, {"code": "000000"}).status_code == 422
    assert not SecondStep.objects.exists()
    assert secret == re.search(r'id="secret">(.*?)<', client.get(url).content.decode())[1].replace(" ", "")
    shown = client.post(url, {"code": clock.code(secret=secret)}).content.decode()
    codes = re.findall(r"\b[a-z2-9]{4}(?:-[a-z2-9]{4}){3}\b", shown)
    assert len(codes) == 10
    assert codes[0] not in client.get(url).content.decode()
    new = client.post(reverse("second_step_codes"), {"new-code": codes[0]}).content.decode()
    assert codes[1] not in new
    off = reverse("second_step_off")
    clock.to(60)
    assert client.post(off, {"password": "wrong", "code": clock.code(secret=secret)}).status_code == 422
    assert client.post(off, {"password": PASSWORD, "code": "000000"}).status_code == 422
    assert client.post(off, {"password": PASSWORD, "code": codes[1]}).status_code == 422  # replaced
    assert SecondStep.objects.exists()
    assert client.post(off, {"password": PASSWORD, "code": clock.code(secret=secret)}).status_code == 302
    assert not SecondStep.objects.exists()
    assert not RecoveryCode.objects.exists()
    assert [name for name in actions(editor) if "second" in name or "made" in name] == [
        "second_step_on", "recovery_codes_made", "second_step_off",
    ]  # fmt: skip


def test_an_administrator_turns_off_that_of_a_person_but_nobody_else_does(editor, codes, client_for, administrator):
    url = reverse("people_second_step_off", args=[editor.pk])
    assert client_for(editor).post(url, {"confirm": "1"}).status_code == 403
    client = client_for(administrator)
    assert client.post(url).status_code == 200
    assert SecondStep.objects.exists()
    client.post(url, {"confirm": "1"})
    assert not SecondStep.objects.exists()
    assert AuditEntry.objects.filter(action="user.second_step_off", actor=administrator).exists()


def test_a_role_that_needs_it_sets_it_up_at_the_next_sign_in(editor, administrator, settings, clock):
    settings.TOTP_REQUIRED = ["administrator"]
    assert is_in(with_password(editor))
    client = with_password(administrator, "/runs/")
    assert not is_in(client)
    url = reverse("second_step_setup")
    page = client.get(url).content.decode()
    secret = re.search(r'id="secret">(.*?)<', page)[1].replace(" ", "")
    assert client.post(url, {"code": "000000"}).status_code == 422
    done = client.post(url, {"code": clock.code(secret=secret)})
    assert (done.status_code, 'href="/runs/"' in done.content.decode()) == (200, True)
    assert is_in(client)
    with_password(administrator)
    assert AuditEntry.objects.filter(action="user.signed_in", actor=administrator).count() == 1


@pytest.mark.parametrize("purpose", ["join", "password_by_link"])
def test_a_one_time_link_does_not_replace_the_second_step(purpose, editor, codes, settings, clock):
    new = {"password": "another long secret", "password_again": "another long secret"}
    client = Client()
    if purpose == "join":
        settings.TOTP_REQUIRED = ["viewer"]
        token = accounts.invite(Role.VIEWER, by=SYSTEM)[1]
        answer = client.post(reverse(purpose, args=[token]), new | {"name": "New", "username": "new"})
        assert answer["Location"] == reverse("second_step_setup")
    else:
        token = accounts.make_password_link(editor, by=SYSTEM)
        answer = client.post(reverse(purpose, args=[token]), new)
        assert answer["Location"] == reverse("second_step")
    assert not is_in(client)


def test_the_command_line_can_clear_that_of_an_administrator(administrator, clock, capsys):
    second_step.turn_on(administrator, SECRET, clock.code())
    call_command("admin_link")
    assert SecondStep.objects.exists()
    call_command("admin_link", "--clear-second-step")
    assert not SecondStep.objects.exists()
    assert AuditEntry.objects.get(action="user.second_step_off").actor_name == "Command line"
    call_command("admin_link", "--clear-second-step")  # already off: the link is printed all the same
    assert "/password/" in capsys.readouterr().out


def test_a_new_secret_key_encrypts_the_secret_and_a_lost_one_leaves_the_recovery_codes(editor, codes, clock, settings):
    old = settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a new key that is long enough for all", [old]
    replace_secret_key()
    settings.SECRET_KEY_FALLBACKS = []
    second_step.check_code(editor, clock.code())
    settings.SECRET_KEY = "a third key; the one before it is lost"
    replace_secret_key()
    entry = AuditEntry.objects.filter(action="secret_key.replaced").latest("seq")
    assert entry.after == {"keys_lost": 0, "second_steps_lost": 1}
    with pytest.raises(WrongCode):
        second_step.check_code(editor, clock.code(1))
    assert second_step.use_recovery_code(editor, codes[0]) == 9


def test_a_person_without_a_password_sets_up_no_second_step(editor, client_for):
    editor.set_unusable_password()
    editor.save()
    page = client_for(editor).get(reverse("second_step_own")).content.decode()
    assert "secret" not in page
    assert reverse("password") not in page


def test_forms_with_a_password_wait_apart_from_pages():
    for name in ("sign_in_local", "second_step_off"):
        assert resolve(reverse(name)).func.hashes_password
