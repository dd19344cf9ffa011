"""Sessions: the lists, ending sessions, and the keys that no page shows."""

import json
from datetime import timedelta

import pytest
from channels.db import database_sync_to_async
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.db import connection, models
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from promptops.ledger import sentences
from promptops.ledger.errors import Stale
from promptops.ledger.models import AuditEntry
from promptops.live import polling
from promptops.people import following
from promptops.people.actions import accounts
from promptops.people.browsers import browser_name
from promptops.people.models import User, UserSession
from tests.conftest import PASSWORD
from tests.web.sockets import page_socket

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Safari/604.1"


def sign_in(user: User, agent: str = FIREFOX, address: str = "192.0.2.1", **options) -> Client:
    client = Client(headers={"User-Agent": agent}, REMOTE_ADDR=address, **options)
    response = client.post(reverse("sign_in"), {"username": user.username, "password": PASSWORD})
    assert response.status_code == 302
    return client


def ended() -> list[str]:
    entries = AuditEntry.objects.filter(action="user.session_ended").order_by("seq")
    return [sentences.sentence(entry) for entry in entries]


def session_of(client: Client) -> UserSession:
    return UserSession.objects.get(session=client.session.session_key)


def is_signed_in(client: Client) -> bool:
    return client.get(reverse("overview")).status_code == 200


@pytest.mark.django_db
def test_the_list_shows_sessions_without_their_keys(viewer, editor):
    here, phone, stranger = sign_in(viewer), sign_in(viewer, SAFARI, "2001:db8::7"), sign_in(editor, SAFARI)
    page = here.get(reverse("sessions")).content.decode()
    assert "Firefox on Linux" in page
    assert "Safari on iPhone" in page
    assert "2001:db8::7" in page
    assert page.count("this one") == 1
    assert f'id="end-{session_of(phone).pk}"' in page
    assert f'id="end-{session_of(stranger).pk}"' not in page
    assert f'id="end-{session_of(here).pk}"' not in page
    for client in (here, phone, stranger):
        assert client.session.session_key not in page
        assert client.session.session_key not in str(list(AuditEntry.objects.values()))


@pytest.mark.django_db
def test_one_of_ones_own_sessions_is_ended(viewer):
    here, phone = sign_in(viewer), sign_in(viewer, SAFARI, "2001:db8::7")
    url = reverse("session_end", args=[session_of(phone).pk])
    assert here.post(url, follow=True).status_code == 200
    assert is_signed_in(here)
    assert not is_signed_in(phone)
    assert ended() == ["Vera Viewer ended a session of Vera Viewer (Safari on iPhone, 2001:db8::7)"]
    assert "has already ended" in here.post(url, follow=True).content.decode()
    assert len(ended()) == 1


@pytest.mark.django_db
def test_all_others_are_ended_at_once(viewer, editor):
    here, others, stranger = sign_in(viewer), [sign_in(viewer) for _ in range(3)], sign_in(editor)
    assert "3 sessions are ended" in here.post(reverse("sessions_end"), follow=True).content.decode()
    assert [is_signed_in(client) for client in (here, stranger, *others)] == [True, True, False, False, False]
    assert len(ended()) == 3
    assert "no session to end" in here.post(reverse("sessions_end"), follow=True).content.decode()


@pytest.mark.django_db
def test_nobody_ends_the_session_of_another_by_its_number(viewer, editor):
    mine, theirs = sign_in(viewer), sign_in(editor)
    mine.post(reverse("session_end", args=[session_of(theirs).pk]))
    assert is_signed_in(theirs)
    for name, args in (
        ("people_sessions_end", [editor.pk]),
        ("people_session_end", [editor.pk, session_of(theirs).pk]),
    ):
        assert mine.post(reverse(name, args=args)).status_code == 403
    assert is_signed_in(theirs)
    assert ended() == []


@pytest.mark.django_db
def test_an_administrator_sees_and_ends_those_of_others(administrator, editor):
    admin, laptop, phone = sign_in(administrator), sign_in(editor), sign_in(editor, SAFARI)
    url = reverse("people_sessions", args=[editor.pk])
    page = admin.get(url).content.decode()
    assert "Sessions of <bdi>Eddie Editor</bdi>" in page
    assert "this one" not in page
    # The address names a session of another person.
    admin.post(reverse("people_session_end", args=[editor.pk, session_of(admin).pk]))
    assert is_signed_in(admin)
    admin.post(reverse("people_session_end", args=[editor.pk, session_of(phone).pk]))
    assert [is_signed_in(laptop), is_signed_in(phone)] == [True, False]
    admin.post(reverse("people_sessions_end", args=[editor.pk]))
    assert not is_signed_in(laptop)
    assert ended()[0].startswith("Ada Administrator ended a session of Eddie Editor (Safari on iPhone")
    assert "not signed in anywhere" in admin.get(url).content.decode()


@pytest.mark.django_db
def test_expired_sessions_are_not_listed(viewer):
    here, old = sign_in(viewer), sign_in(viewer, SAFARI)
    Session.objects.filter(pk=old.session.session_key).update(expire_date=timezone.now() - timedelta(seconds=1))
    assert "Safari" not in here.get(reverse("sessions")).content.decode()
    here.session.clear_expired()
    assert UserSession.objects.get() == session_of(here)


@pytest.mark.django_db
def test_sign_out_deactivation_and_a_new_password_end_sessions(viewer, actor):
    one, two = sign_in(viewer), sign_in(viewer)
    one.post(reverse("sign_out"))
    assert UserSession.objects.get() == session_of(two)
    three = sign_in(viewer)
    new = {"present": PASSWORD, "password": "another long secret", "password_again": "another long secret"}
    assert three.post(reverse("password"), new).status_code == 302
    assert UserSession.objects.get() == session_of(three)  # under its new key
    assert (is_signed_in(two), is_signed_in(three)) == (False, True)
    viewer.refresh_from_db()
    accounts.deactivate(viewer, by=actor)
    assert UserSession.objects.count() == 0
    accounts.reactivate(viewer, by=actor)
    assert not is_signed_in(three)  # reactivating does not restore old sessions


@pytest.mark.django_db
def test_a_sign_in_over_another_persons_session_is_listed_for_the_new_person(viewer, editor):
    client = sign_in(viewer)
    client.force_login(editor, backend="django.contrib.auth.backends.ModelBackend")
    assert UserSession.objects.get().user == editor
    assert session_of(client).user == editor


@pytest.mark.django_db
def test_last_seen_is_exact_to_the_minute_without_a_write_each_time(viewer):
    client = sign_in(viewer)
    started = session_of(client).seen_at
    key = client.session.session_key
    accounts.session_seen(key, address="192.0.2.99")
    assert (session_of(client).seen_at, session_of(client).address) == (started, "192.0.2.1")
    UserSession.objects.update(seen_at=started - timedelta(minutes=2))
    client.get(reverse("overview"), REMOTE_ADDR="192.0.2.99")
    assert session_of(client).seen_at > started
    assert session_of(client).address == "192.0.2.99"
    UserSession.objects.update(seen_at=started - timedelta(minutes=2))
    with CaptureQueriesContext(connection) as captured:
        client.get(reverse("overview"))
    assert not [query for query in captured if "UPDATE" in query["sql"]]


@pytest.mark.django_db
def test_the_list_has_the_same_number_of_queries_for_1_and_30(viewer):
    here, counts = sign_in(viewer), []
    for count in (1, 30):
        for _ in range(UserSession.objects.count(), count):
            Client().force_login(viewer, backend="django.contrib.auth.backends.ModelBackend")
        here.get(reverse("sessions"))
        with CaptureQueriesContext(connection) as captured:
            assert here.get(reverse("sessions")).content.decode().count("<tr>") == count + 1
        counts.append(len(captured))
    assert counts[0] == counts[1]


@pytest.mark.django_db
def test_of_two_people_who_end_a_session_one_is_refused(viewer, actor):
    session = session_of(sign_in(viewer))
    accounts.end_session(session, by=actor)
    with pytest.raises(Stale):
        accounts.end_session(session, by=actor)


@pytest.mark.django_db(transaction=True)
async def test_ending_a_session_signs_out_its_pages_and_no_others(make_user):
    def prepare():
        user = make_user("editor", "eddie")
        return sign_in(user), sign_in(user, SAFARI)

    async def events(socket):
        received = []
        while not await socket.receive_nothing(timeout=0.3):
            output = await socket.receive_output(timeout=1)
            text = output.get("text", "")
            if text.startswith("{"):  # other messages are parts of the page
                received.append(json.loads(text)["event"])
            elif not text:
                received.append(output["type"])
            if received[-1:] == ["websocket.close"]:
                break
        return received

    here, phone = await database_sync_to_async(prepare)()
    async with page_socket(None, client=here) as mine, page_socket(None, client=phone) as theirs:
        await events(mine), await events(theirs)
        end = reverse("session_end", args=[(await database_sync_to_async(session_of)(phone)).pk])
        await database_sync_to_async(here.post)(end)
        assert (await events(theirs))[-2:] == ["signed_out", "websocket.close"]
        assert "signed_out" not in (seen := await events(mine))
        assert "reload" not in seen


@pytest.mark.django_db
def test_other_processes_learn_whose_sign_in_changed(viewer, editor, actor):
    before = polling.heads()["audit"]
    accounts.end_session(session_of(sign_in(viewer)), by=actor)
    accounts.change_role(editor, "viewer", by=actor)
    assert sorted(following.people_changed(before)) == sorted([viewer.pk, editor.pk])
    assert following.people_changed(polling.heads()["audit"]) == []


@pytest.mark.django_db
def test_people_are_deactivated_never_deleted(viewer, publish):
    with pytest.raises(ValidationError, match="Deactivate"):
        viewer.delete()
    sign_in(viewer)
    with pytest.raises(models.ProtectedError):  # the audit names everybody who ever signed in
        User.objects.filter(pk=viewer.pk).delete()


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (FIREFOX, "Firefox on Linux"),
        (SAFARI, "Safari on iPhone"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0",
            "Edge on Windows",
        ),
        ("Mozilla/5.0 (Linux; Android 14; Pixel) Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/18.0 Safari/605.1", "Safari on macOS"),
        ("curl/8.0", "Unknown browser"),
        ("<script>" * 100, "Unknown browser"),
        ("", "Unknown browser"),
    ],
)  # fmt: skip
def test_browsers_have_names(agent, name):
    assert browser_name(agent) == name
