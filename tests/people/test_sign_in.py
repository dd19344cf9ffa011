"""Signing in, one-time links, passwords, and their audit entries."""

import logging
import re
import threading
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.hashers import MD5PasswordHasher
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from promptops.asgi import django_application
from promptops.ledger.audit import SYSTEM, Actor
from promptops.ledger.errors import LastAdministrator
from promptops.ledger.models import AuditEntry
from promptops.people.actions import accounts
from promptops.people.enums import LinkPurpose, Role
from promptops.people.models import OneTimeLink, User
from promptops.web.workers import with_workers
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db

ACCOUNT = {"name": "Ada Lovelace", "username": "ada", "password": PASSWORD, "password_again": PASSWORD}


def actions() -> list[str]:
    return list(AuditEntry.objects.order_by("seq").values_list("action", flat=True))


def test_a_setup_link_creates_the_first_administrator_and_then_stops_working():
    token = accounts.make_setup_link()
    url = reverse("setup", args=[token])
    client = Client()
    assert client.get(url).status_code == 200
    response = client.post(url, ACCOUNT)
    assert response.status_code == 302
    user = User.objects.get()
    assert (user.username, user.role, user.check_password(PASSWORD)) == ("ada", Role.ADMINISTRATOR, True)
    assert client.get(reverse("overview")).status_code == 200  # signed in
    assert Client().post(url, ACCOUNT | {"username": "mallory"}).status_code == 410
    assert User.objects.count() == 1
    assert accounts.make_setup_link() is None


def test_setup_reports_all_errors_in_one_round():
    url = reverse("setup", args=[accounts.make_setup_link()])
    typed = {"name": "!", "username": "ada lovelace", "password": "short", "password_again": "other"}
    answer = Client().post(url, typed)
    assert answer.status_code == 422
    assert set(answer.context["form"].errors) == {"name", "username", "password", "password_again"}
    typed = {"name": "Ada", "username": "ada lovelace", "password": "short", "password_again": "short"}
    assert set(Client().post(url, typed).context["form"].errors) == {"username", "password"}


def test_the_first_page_says_how_to_set_up_until_somebody_has():
    page = Client().get("/", follow=True)
    assert b'id="not-set-up"' in page.content
    assert b'name="password"' not in page.content
    Client().post(reverse("setup", args=[accounts.make_setup_link()]), ACCOUNT)
    page = Client().get("/", follow=True)
    assert b'id="not-set-up"' not in page.content
    assert b'name="password"' in page.content


def test_the_sign_in_page_says_that_a_session_has_ended(editor):
    assert b'id="ended"' not in Client().get("/sign-in/?next=/prompts/").content
    assert b'id="ended"' in Client().get("/sign-in/?next=/prompts/&ended=1").content


def test_each_start_prints_a_new_setup_link_and_an_old_one_stops_working():
    first, beside = accounts.make_setup_link(), accounts.make_setup_link()
    assert [Client().get(reverse("setup", args=[token])).status_code for token in (first, beside)] == [200, 200]
    OneTimeLink.objects.update(created_at=timezone.now() - timedelta(minutes=11))
    later = accounts.make_setup_link()
    assert [Client().get(reverse("setup", args=[token])).status_code for token in (first, beside, later)] == [
        410,
        410,
        200,
    ]


def test_no_token_is_stored():
    token = accounts.make_setup_link()
    assert token not in str(OneTimeLink.objects.values())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"password": "short", "password_again": "short"}, "too short"),
        ({"password": "1234567890123", "password_again": "1234567890123"}, "entirely numeric"),
        ({"password_again": "something else"}, "differ"),
        ({"username": "no spaces"}, "valid username"),
        ({"name": ""}, "required"),
    ],
)
def test_setup_refuses_with_the_reason_and_the_link_stays_valid(change, sentence):
    url = reverse("setup", args=[accounts.make_setup_link()])
    response = Client().post(url, ACCOUNT | change)
    assert response.status_code == 422
    assert sentence in response.content.decode()
    assert not User.objects.exists()
    assert Client().post(url, ACCOUNT).status_code == 302


def test_user_names_are_unique_in_any_case(administrator):
    _, token = accounts.invite(Role.VIEWER, by=Actor.person(administrator))
    response = Client().post(reverse("join", args=[token]), ACCOUNT | {"username": "ADA"})
    assert response.status_code == 422
    assert "taken" in response.content.decode()


def test_invitation_gives_its_role_and_no_other_purpose_opens_it(administrator):
    _, token = accounts.invite(Role.EDITOR, by=Actor.person(administrator))
    assert Client().get(reverse("setup", args=[token])).status_code == 410
    assert Client().get(reverse("password_by_link", args=[token])).status_code == 410
    assert Client().post(reverse("join", args=[token]), ACCOUNT | {"username": "eve"}).status_code == 302
    assert User.objects.get(username="eve").role == Role.EDITOR
    assert "user.invited" in actions()
    assert "user.created" in actions()


def test_password_link_sets_a_password_once(administrator):
    token = accounts.make_password_link(administrator, by=SYSTEM)
    url = reverse("password_by_link", args=[token])
    new = {"password": "another long secret", "password_again": "another long secret"}
    assert Client().post(url, new).status_code == 302
    assert Client().post(url, new).status_code == 410
    administrator.refresh_from_db()
    assert administrator.check_password("another long secret")


def test_sign_in_goes_back_to_where_it_came_from_but_never_elsewhere(viewer):
    for target, expected in [("/prompts/", "/prompts/"), ("https://evil.example/", "/"), ("//evil.example", "/")]:
        response = Client().post(reverse("sign_in"), {"username": "VERA", "password": PASSWORD, "next": target})
        assert (response.status_code, response["Location"]) == (302, expected)


@pytest.mark.parametrize(
    "target",
    [
        "nonsense", "people", "http://[", "//", "///", "//[", "/\\evil.example", "javascript:alert(1)",
        "/a\nb", "/a\x00", "\t//evil.example", "/" + "a" * 3000, "http://testserver:99999999/", "/\u202e", "",
    ],
)  # fmt: skip
def test_whatever_next_says_signing_in_leads_somewhere(target, viewer):
    """It need not be a path: Django's `redirect` takes a bare word for the name of a view, or raises."""
    client = Client()
    assert client.get(reverse("sign_in"), {"next": target}).status_code == 200
    for _ in range(2):  # also for a person who is already signed in
        response = client.post(reverse("sign_in"), {"username": "vera", "password": PASSWORD, "next": target})
        assert (response.status_code, response["Location"]) == (302, "/")
        response = client.get(reverse("sign_in"), {"next": target})
        assert (response.status_code, response["Location"]) == (302, "/")


@pytest.mark.parametrize(
    "other",
    [
        "v\u0435ra",  # a Cyrillic letter that looks the same
        "\uff56era",  # fullwidth; NFKC makes it the same
        "ver\u00aa",  # a feminine ordinal; so does NFKC
        "ve\u200dra",
        "vera\u0000",
        "ve ra",
        "x" * 61,
        "",
    ],
)
def test_another_spelling_is_another_name_and_is_not_even_tried(other, viewer, monkeypatch):
    def hashed(*arguments: object) -> None:
        raise AssertionError("a password was hashed")

    monkeypatch.setattr("django.contrib.auth.hashers.MD5PasswordHasher.encode", hashed)
    response = Client().post(reverse("sign_in"), {"username": other, "password": PASSWORD})
    assert response.status_code == 422
    assert actions() == []
    assert not AccessAttempt.objects.exists()


def test_letters_that_a_database_confuses_open_no_account(make_user):
    """PostgreSQL's UPPER makes I of a dotless i, and Python's lower makes k of the Kelvin sign."""
    make_user("viewer", "viki1")
    for other in ("v\u0131k\u01311", "vi\u212ai1", "V\u0130KI1"):
        assert Client().post(reverse("sign_in"), {"username": other, "password": PASSWORD}).status_code == 422
        assert accounts.too_many_failures(other, "192.0.2.1") is False
        assert not User.objects.named(other).exists()
        with pytest.raises(User.DoesNotExist):
            User.objects.get_by_natural_key(other)


def test_all_spellings_of_an_account_have_one_count(viewer):
    url = reverse("sign_in")
    spellings = ["vera", "VERA", " Vera ", "vErA", "\u00a0vera"]
    codes = [Client().post(url, {"username": name, "password": "wrong"}).status_code for name in spellings]
    assert codes == [422] * 4 + [429]
    assert AccessAttempt.objects.get().failures_since_start == 5


def test_a_referer_that_is_no_address_is_no_error(client_for):
    response = client_for().post(reverse("template_new"), headers={"Referer": "http://["})
    assert response["Location"] == f"{reverse('sign_in')}?next=/"


def test_failures_are_shown_audited_and_limited(viewer):
    client = Client(REMOTE_ADDR="192.0.2.9")
    url = reverse("sign_in")
    for attempt in range(5):
        response = client.post(url, {"username": ["vera", "VERA"][attempt % 2], "password": f"wrong {attempt}"})
    assert response.status_code == 429
    assert client.post(url, {"username": "vera", "password": PASSWORD}).status_code == 429
    elsewhere = Client(REMOTE_ADDR="192.0.2.10")
    assert elsewhere.post(url, {"username": "vera", "password": PASSWORD}).status_code == 302
    entry = AuditEntry.objects.filter(action="user.sign_in_failed").first()
    assert (entry.object_name, entry.address) == ("vera", "192.0.2.9")
    assert "user.locked_out" in actions()


def test_a_password_typed_as_user_name_is_not_stored():
    Client().post(reverse("sign_in"), {"username": PASSWORD.replace(" ", "-"), "password": "x"})
    entry = AuditEntry.objects.get(action="user.sign_in_failed")
    assert PASSWORD.replace(" ", "-") not in str(vars(entry))


def test_signing_in_and_out_is_audited(viewer):
    client = Client()
    client.post(reverse("sign_in"), {"username": "vera", "password": PASSWORD})
    client.post(reverse("sign_out"))
    assert actions() == ["user.signed_in", "user.signed_out"]
    assert client.get(reverse("overview"))["Location"].startswith(reverse("sign_in"))


def test_changing_the_password_ends_other_sessions(viewer, client_for):
    here, there = client_for(viewer), client_for(viewer)
    new = {"present": PASSWORD, "password": "another long secret", "password_again": "another long secret"}
    wrong = here.post(reverse("password"), new | {"present": "no"})
    assert wrong.status_code == 422
    assert here.post(reverse("password"), new).status_code == 302
    assert here.get(reverse("overview")).status_code == 200
    assert there.get(reverse("overview")).status_code == 302


@pytest.mark.django_db(transaction=True)
def test_no_password_is_hashed_in_a_transaction(administrator, editor, client_for, monkeypatch):
    """A hash may wait seconds for its turn, and other writers of SQLite would wait too."""
    inside: list[bool] = []
    encode = MD5PasswordHasher.encode

    def noted(*arguments: object) -> str:
        inside.append(connection.in_atomic_block)
        return encode(*arguments)

    _, token = accounts.invite(Role.VIEWER, by=Actor.person(administrator))
    link = accounts.make_password_link(editor, by=SYSTEM)
    monkeypatch.setattr(MD5PasswordHasher, "encode", noted)
    new = {"password": "another long secret", "password_again": "another long secret"}
    sent = [
        (Client(), reverse("sign_in"), {"username": administrator.username, "password": PASSWORD}),
        (Client(), reverse("join", args=[token]), ACCOUNT | {"username": "eve", "name": "Eve"}),
        (client_for(administrator), reverse("password"), new | {"present": PASSWORD}),
        (Client(), reverse("password_by_link", args=[link]), new),
    ]
    for browser, url, form in sent:
        before = len(inside)
        assert browser.post(url, form).status_code == 302, url
        assert len(inside) > before
    assert not any(inside)


def test_the_last_administrator_stays(administrator, editor):
    by = Actor.person(administrator)
    with pytest.raises(LastAdministrator):
        accounts.change_role(administrator, Role.VIEWER, by=by)
    with pytest.raises(LastAdministrator):
        accounts.deactivate(administrator, by=by)
    accounts.change_role(editor, Role.ADMINISTRATOR, by=by)
    accounts.deactivate(administrator, by=by)
    assert User.objects.get(role=Role.ADMINISTRATOR, is_active=True) == editor


def test_a_deactivated_person_is_out_at_once(viewer, administrator, client_for):
    client = client_for(viewer)
    accounts.deactivate(viewer, by=Actor.person(administrator))
    assert client.get(reverse("overview")).status_code == 302
    assert Client().post(reverse("sign_in"), {"username": "vera", "password": PASSWORD}).status_code == 422


def test_an_expired_login_in_an_htmx_request_comes_back_to_the_page(client_for):
    client = client_for(htmx=True)
    response = client.get(reverse("prompts"), headers={"HX-Current-URL": "http://testserver/prompts/enhance/"})
    assert response["HX-Redirect"] == f"{reverse('sign_in')}?next=/prompts/enhance/"


@pytest.mark.parametrize(
    ("referer", "expected"),
    [
        ("http://testserver/prompts/new/?operation=enhance", "/prompts/new/%3Foperation%3Denhance"),
        ("http://evil.example/prompts/new/", "/"),
        ("", "/"),
    ],
)
def test_an_expired_login_in_a_form_comes_back_to_its_page(referer, expected, client_for):
    response = client_for().post(reverse("template_new"), headers={"Referer": referer})
    assert response["Location"] == f"{reverse('sign_in')}?next={expected}"


def test_log_lines_hold_no_one_time_link(caplog, capfd):
    from promptops.platform.logs import RedactOneTimeLinks

    token = accounts.make_setup_link() + "x"
    Client().get(reverse("setup", args=[token]))
    record = logging.LogRecord("x", logging.WARNING, "", 0, "Gone: %s", (f"/setup/{token}/",), None)
    RedactOneTimeLinks().filter(record)
    assert re.search(r"/setup/\[one-time link\]", record.getMessage())
    assert token not in record.getMessage() + capfd.readouterr().err


def test_a_wrong_host_header_is_one_line_in_the_log(caplog):
    assert Client().get(reverse("sign_in"), headers={"Host": "evil.example"}).status_code == 400
    (record,) = caplog.records
    assert logging.Formatter().format(record) == (
        "Invalid HTTP_HOST header: 'evil.example'. You may need to add 'evil.example' to ALLOWED_HOSTS."
    )


def test_a_refusal_is_one_line_in_the_log_and_an_error_has_its_traceback(client_for, viewer, caplog, monkeypatch):
    assert client_for(viewer).post(reverse("people")).status_code == 403
    (record,) = caplog.records
    assert logging.Formatter().format(record) == "Forbidden (Permission denied): /settings/people/"
    caplog.clear()
    monkeypatch.setattr("promptops.people.views.accounts.render", lambda *_, **__: 1 / 0)
    assert Client(raise_request_exception=False).get(reverse("sign_in")).status_code == 500
    assert "ZeroDivisionError" in logging.Formatter().format(caplog.records[0])


def test_every_purpose_has_an_address_that_logs_redact():
    from django.conf import settings

    pages = {LinkPurpose.SETUP: "setup", LinkPurpose.JOIN: "join", LinkPurpose.PASSWORD: "password_by_link"}
    assert set(pages) == set(LinkPurpose)
    for name in pages.values():
        assert "secret-token" not in settings.ONE_TIME_LINK.sub(r"/\1/…", reverse(name, args=["secret-token"]))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("page", ["sign_in", "setup", "join", "password_by_link", "password"])
async def test_every_form_that_hashes_a_password_waits_apart_from_pages(page, monkeypatch, make_user):
    threads = []
    encode = MD5PasswordHasher.encode

    def noted(*arguments: object) -> str:
        threads.append(threading.current_thread().name)
        return encode(*arguments)

    path, form, cookies = await sync_to_async(form_of)(page, make_user)
    monkeypatch.setattr(MD5PasswordHasher, "encode", noted)
    token = "c" * 32
    body = urlencode(form | {"csrfmiddlewaretoken": token}).encode()
    cookie = "; ".join(f"{name}={value}" for name, value in (cookies | {"csrftoken": token}).items())
    headers = [(b"host", b"testserver"), (b"cookie", cookie.encode()), (b"content-length", b"%d" % len(body))]
    headers.append((b"content-type", b"application/x-www-form-urlencoded"))
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    caller = ApplicationCommunicator(with_workers(django_application, 2), scope)
    await caller.send_input({"type": "http.request", "body": body})
    assert (await caller.receive_output(5))["status"] == 302
    await caller.receive_output(5)
    await caller.wait()
    assert threads
    assert all(name.startswith("password") for name in threads)


def form_of(page: str, make_user: Callable[..., User]) -> tuple[str, dict[str, str], dict[str, str]]:
    """Return the page's address, the values of its form, and the cookies of the person who sends it."""
    new = {"password": "another long secret", "password_again": "another long secret"}
    if page == "setup":
        return reverse(page, args=[accounts.make_setup_link()]), ACCOUNT, {}
    user = make_user("viewer", "vera")
    if page == "join":
        return reverse(page, args=[accounts.invite(Role.VIEWER, by=SYSTEM)[1]]), ACCOUNT, {}
    if page == "password_by_link":
        return reverse(page, args=[accounts.make_password_link(user, by=SYSTEM)]), new, {}
    if page == "sign_in":
        return reverse(page), {"username": "vera", "password": PASSWORD}, {}
    client = Client()
    client.force_login(user, backend=settings.AUTHENTICATION_BACKENDS[-1])
    return reverse(page), new | {"present": PASSWORD}, {"sessionid": client.cookies["sessionid"].value}
