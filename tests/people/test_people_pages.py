"""The People page over HTTP: links are shown once, and one administrator always stays."""

import logging
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from promptops.ledger.models import AuditEntry
from promptops.people.actions import accounts
from promptops.people.models import OneTimeLink, User
from promptops.people.views.people import INVITATIONS, PEOPLE
from tests.pages import unwrapped

pytestmark = pytest.mark.django_db


def text_of(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def link_in(response) -> str:
    return re.search(r'readonly value="([^"]+)"', response.content.decode())[1]


def test_the_list_has_the_same_number_of_queries_for_1_and_30(client_for, administrator, make_user, actor):
    client, counts = client_for(administrator), []
    for count in (1, 30):
        for number in range(User.objects.count(), count):
            make_user("viewer", f"person{number}")
        for _ in range(OneTimeLink.objects.count(), count):
            accounts.invite("editor", by=actor)
        client.get(reverse("people"))
        with CaptureQueriesContext(connection) as captured:
            page = client.get(reverse("people")).content.decode()
        assert page.count('id="role-') == min(count, PEOPLE)
        assert page.count('id="withdraw-') == min(count, INVITATIONS)
        counts.append(len(captured))
    assert counts[0] == counts[1]


def test_more_people_than_a_page_holds_are_found_by_name_and_on_further_pages(client_for, administrator, make_user):
    for number in range(PEOPLE + 5):
        make_user("viewer", f"person{number:02}", f"Person {number:02}")
    client = client_for(administrator)
    first, second = (unwrapped(client.get(f"{reverse('people')}?page={number}").content.decode()) for number in (1, 2))
    assert "Ada Administrator</b>" in first
    assert "Person 29</b>" not in first
    assert "Person 29</b>" in second
    assert "Page 2 of 2" in second
    assert f">{PEOPLE + 6}</span>" in second
    found = client.get(f"{reverse('people')}?q=PERSON%20 29").content.decode()
    assert "in a name" in found  # no name has two spaces
    found = client.get(f"{reverse('people')}?q=PERSON 29").content.decode()
    assert re.findall(r">(Person \d+)</b>", found) == ["Person 29"]


def test_a_search_does_not_take_a_person_for_the_last_administrator(client_for, administrator, make_user):
    make_user("administrator", "other", "Other")
    found = client_for(administrator).get(f"{reverse('people')}?q=ada").content.decode()
    assert f'id="role-{administrator.pk}"' in found
    assert "last administrator" not in found


def test_older_invitations_are_on_further_pages(client_for, administrator, actor):
    links = [accounts.invite("viewer", by=actor)[0] for _ in range(INVITATIONS + 1)]
    client = client_for(administrator)
    assert f'id="withdraw-{links[0].pk}"' not in client.get(reverse("people")).content.decode()
    older = client.get(f"{reverse('people')}?before={links[1].pk}").content.decode()
    assert f'id="withdraw-{links[0].pk}"' in older


def test_the_list_shows_people_and_invitations(client_for, administrator, make_user, actor):
    gone = make_user("releaser", "gone", "<b>Gone</b>")
    accounts.deactivate(gone, by=actor)
    response = client_for(administrator).get(reverse("people"))
    assert "Ada Administrator you ada Administrator active" in text_of(response)
    assert "gone Releaser deactivated" in text_of(response)
    assert "&lt;b&gt;Gone&lt;/b&gt;" in response.content.decode()
    fragment = client_for(administrator, htmx=True).get(reverse("people")).content.decode()
    assert fragment.startswith('<div id="people"')


@pytest.mark.parametrize("role", ["viewer", "editor", "releaser"])
def test_other_roles_are_refused(role, client_for, make_user):
    assert client_for(make_user(role)).get(reverse("people")).status_code == 403


def test_an_invitation_is_shown_once_and_works(client_for, administrator, client, caplog):
    caplog.set_level(logging.DEBUG)
    browser = client_for(administrator, htmx=True)
    response = browser.post(reverse("people_invite"), {"role": "editor"})
    link = link_in(response)
    assert link.startswith("http://testserver/join/")
    assert "no-store" in response["Cache-Control"]
    assert 'data-copy="#one-time-link"' in response.content.decode()
    token = link.split("/")[-2]
    page = browser.get(reverse("people")).content.decode()
    assert "Editor" in page
    assert token not in page + caplog.text + str(list(AuditEntry.objects.values()) + list(OneTimeLink.objects.values()))
    assert client.get(link).status_code == 200
    assert browser.post(reverse("people_invite"), {"role": "emperor"}).status_code == 409


def test_an_invitation_is_withdrawn(client_for, administrator, actor, client):
    link, token = accounts.invite("viewer", by=actor)
    browser, url = client_for(administrator, htmx=True), reverse("people_withdraw", args=[link.pk])
    assert browser.post(url)["HX-Redirect"] == reverse("people")
    assert client.get(reverse("join", args=[token])).status_code == 410
    assert "No open invitations" in text_of(browser.get(reverse("people")))
    assert browser.post(url).status_code == 409


def test_only_invitations_are_withdrawn(client_for, administrator, editor, actor):
    accounts.make_password_link(editor, by=actor)
    url = reverse("people_withdraw", args=[OneTimeLink.objects.get().pk])
    assert client_for(administrator, htmx=True).post(url).status_code == 404


def test_a_role_is_changed_in_a_panel(client_for, administrator, editor):
    browser, url = client_for(administrator, htmx=True), reverse("people_role", args=[editor.pk])
    panel = browser.get(url)
    assert 'value="editor" checked' in panel.content.decode()
    assert "This is your own role" not in text_of(panel)
    done = browser.post(url, {"role": "releaser", "confirm": "1", "note": "on call"})
    assert done["HX-Redirect"] == reverse("people")
    editor.refresh_from_db()
    assert editor.role == "releaser"
    assert AuditEntry.objects.first().note == "on call"
    assert browser.post(url, {"role": "emperor", "confirm": "1"}).status_code == 409
    same = browser.post(url, {"role": "releaser", "confirm": "1"})
    assert same.status_code == 409
    assert "Eddie Editor already has the role releaser" in text_of(same)


def test_deactivating_and_reactivating(client_for, administrator, editor):
    browser, theirs = client_for(administrator, htmx=True), client_for(editor)
    url = reverse("people_active", args=[editor.pk])
    assert theirs.get(reverse("overview")).status_code == 200
    assert "Deactivate Eddie Editor" in text_of(browser.post(url, {"active": "0"}))
    editor.refresh_from_db()
    assert editor.is_active
    assert browser.post(url, {"active": "0", "confirm": "1"})["HX-Redirect"] == reverse("people")
    assert theirs.get(reverse("overview")).status_code == 302
    assert browser.post(url, {"active": "0", "confirm": "1"}).status_code == 409
    refused = browser.post(reverse("people_password_link", args=[editor.pk]))
    assert refused.status_code == 409
    assert "Eddie Editor is deactivated" in text_of(refused)
    browser.post(url, {"active": "1", "confirm": "1"})
    editor.refresh_from_db()
    assert editor.is_active


def test_the_last_administrator_stays(client_for, administrator, editor):
    browser = client_for(administrator, htmx=True)
    page = browser.get(reverse("people")).content.decode()
    assert page.count('aria-disabled="true" aria-describedby="last-administrator"') == 2
    demoted = browser.post(reverse("people_role", args=[administrator.pk]), {"role": "viewer", "confirm": "1"})
    removed = browser.post(reverse("people_active", args=[administrator.pk]), {"active": "0", "confirm": "1"})
    for refused in (demoted, removed):
        assert refused.status_code == 409
        assert "This is the last administrator. Make someone else an administrator first." in text_of(refused)
    administrator.refresh_from_db()
    assert (administrator.role, administrator.is_active) == ("administrator", True)


def test_administrators_are_warned_of_removing_themselves(client_for, administrator, make_user):
    make_user("administrator", "second")
    browser = client_for(administrator, htmx=True)
    role, active = (reverse(name, args=[administrator.pk]) for name in ("people_role", "people_active"))
    assert "This is your own role." in text_of(browser.get(role))
    assert "This is your own account. You are signed out at once" in text_of(browser.post(active, {"active": "0"}))
    done = browser.post(role, {"role": "viewer", "confirm": "1"})
    assert done["HX-Redirect"] == reverse("settings")
    assert browser.get(reverse("people")).status_code == 403


def test_a_password_link_is_shown_once_and_works(client_for, administrator, editor, client):
    browser, url = client_for(administrator, htmx=True), reverse("people_password_link", args=[editor.pk])
    earlier, link = link_in(browser.post(url)), link_in(browser.post(url))
    assert link.startswith("http://testserver/password/")
    assert client.get(earlier).status_code == 410
    assert client.get(link).status_code == 200
    assert link.split("/")[-2] not in browser.get(reverse("people")).content.decode()
