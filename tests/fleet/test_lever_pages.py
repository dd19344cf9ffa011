"""The pages of the levers over HTTP: the panel, the strip on every page, pulling, ending and undoing."""

import re
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from promptops.fleet.models import Lever
from promptops.ledger.audit import Actor
from promptops.ledger.models import LiveConfiguration
from promptops.live import snapshots as live
from promptops.prompts.models import Template
from promptops.web import fragments
from tests.fleet.levers import freeze, let_expire, pass_through

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(client_for, releaser):
    return client_for(releaser, htmx=True)


def revision() -> int:
    return LiveConfiguration.objects.get().revision


def pull(page, **fields):
    """Press a button of the panel, and let this process follow (a test's transaction never commits)."""
    sent = {"confirm": "1", "note": "Bad prompts", "lasts": "60", "expected": revision(), "pull": "freeze"} | fields
    answer = page.post(reverse("lever_pull"), sent)
    live.refresh()
    return answer


def levers_of(html: str) -> int:
    """Return the number of levers in the strip."""
    return html.count("data-lever>")


def test_the_panel_freezes_releases_and_closes(page, publish):
    publish("enhance", "Text")
    shown = page.get(reverse("lever_panel"))
    assert shown.status_code == 200
    values = set(re.findall(r'name="pull" value="([^"]+)"', shown.content.decode()))
    assert {"freeze", "pass_through:enhance", "pass_through:rewrite"} <= values
    assert "pass_through:auto_extend" not in values
    done = pull(page)
    assert done.status_code == 200
    assert done.content.decode().strip().startswith('<div hx-swap-oob="beforeend:#toasts">')
    lever = Lever.objects.get()
    assert (lever.kind, lever.note, lever.user_name) == ("freeze", "Bad prompts", "Rita Releaser")
    assert 3590 < (lever.expires_at - lever.pulled_at).total_seconds() <= 3600


@pytest.mark.parametrize(
    ("fields", "minutes"),
    [
        ({"lasts": "15"}, 15),
        ({"lasts": "240", "pull": "pass_through:enhance"}, 240),
    ],
)
def test_each_time_is_offered(page, fields, minutes):
    assert pull(page, **fields).status_code == 200
    lever = Lever.objects.get()
    assert round((lever.expires_at - lever.pulled_at).total_seconds() / 60) == minutes


def test_a_time_is_read_in_the_zone_of_the_reader(page):
    page.cookies["tz"] = "Asia/Tokyo"
    until = (timezone.now() + timedelta(hours=2)).astimezone(ZoneInfo("Asia/Tokyo")).replace(microsecond=0)
    assert pull(page, lasts="until", until=f"{until:%Y-%m-%dT%H:%M:%S}").status_code == 200
    assert Lever.objects.get().expires_at == until


@pytest.mark.parametrize(
    "fields",
    [
        {"note": ""},
        {"note": "x" * 501},
        {"pull": ""},
        {"pull": "unheard_of"},
        {"pull": "pass_through:"},
        {"pull": "pass_through:auto_extend"},
        {"lasts": "9999"},
        {"lasts": "until"},
        {"lasts": "until", "until": "yesterday"},
        {"lasts": "until", "until": "2001-01-01T00:00"},
        {"pull": "last_good"},
        {"pull": "last_good", "revision": "99999999999999"},
        {"pull": "last_good", "revision": "1", "expected": "x"},
        {"pull": "last_good", "revision": "1"},
    ],
)
def test_the_panel_stays_with_a_reason_and_nothing_is_pulled(page, fields):
    answer = pull(page, **fields)
    assert answer.status_code == 409
    assert 'role="alert"' in answer.content.decode()
    assert 'id="levers-form"' in answer.content.decode()
    assert (Lever.objects.count(), revision()) == (0, 0)


def test_the_strip_is_on_every_page_of_every_role(client_for, viewer, releaser, actor):
    freeze(by=actor, note="<b>Bad</b>")
    pass_through(by=actor)
    live.refresh()
    for user, may_end in ((viewer, 0), (releaser, 2)):
        for name in ("overview", "prompts", "fleet", "levers", "settings"):
            html = client_for(user).get(reverse(name)).content.decode()
            assert levers_of(html) == 2
            assert html.count(f'action="{reverse("lever_end")}"') == may_end
            assert "&lt;b&gt;Bad&lt;/b&gt;" in html
    assert levers_of(fragments.render("levers", "viewer", None).html) == 2


def test_the_strip_of_an_open_page_is_renewed_by_its_revision(client_for, viewer, actor):
    html = client_for(viewer).get(reverse("overview")).content.decode()
    shown = re.search(r'data-fragment="levers"\s+data-version="(\d+-\d+-\d+)"', html)[1]
    freeze(by=actor)
    live.refresh()
    rendered = fragments.render("levers", "viewer", None)
    numbers = tuple(map(int, shown.split("-")))
    assert fragments.is_newer(rendered.numbers, numbers, fragments.FRAGMENTS["levers"])


def test_an_expired_lever_is_not_shown(client_for, viewer, actor):
    let_expire(freeze(by=actor))
    live.refresh()
    assert levers_of(client_for(viewer).get(reverse("overview")).content.decode()) == 0


def strip_values(html: str) -> dict[str, str]:
    """Return the hidden fields of the strip's first form."""
    form = html.partition('class="lever"')[2].partition("</form>")[0]
    return dict(re.findall(r'name="(kind|operation|expires_at)" value="([^"]*)"', form))


def test_one_click_ends_a_lever(page, actor, publish):
    publish("enhance", "Text")
    pass_through(by=actor)
    live.refresh()
    values = strip_values(page.get(reverse("overview")).content.decode())
    answer = page.post(reverse("lever_end"), values)
    assert 'id="levers"' in answer.content.decode()
    assert Lever.objects.get().ended_by == "Rita Releaser"
    before = revision()
    for late in (values, values | {"expires_at": "nonsense"}, {}):
        assert page.post(reverse("lever_end"), late).status_code == 200
    assert revision() == before


def test_another_lever_of_the_same_kind_is_not_ended_by_an_old_strip(page, actor):
    first = freeze(by=actor)
    live.refresh()
    values = strip_values(page.get(reverse("overview")).content.decode())
    let_expire(first)
    second = freeze(by=actor)
    page.post(reverse("lever_end"), values)
    second.refresh_from_db()
    assert second.ended_at is None


def test_last_good_shows_what_would_change_restores_it_and_is_undone(page, publish):
    publish("enhance", "Good")
    publish("enhance", "Bad")
    panel = page.get(reverse("lever_panel")).content.decode()
    assert re.search(r'value="1" selected', panel)
    shown = page.get(reverse("lever_changes"), {"revision": 1}).content.decode()
    assert "Template enhance: version" in shown
    assert revision() == 2
    done = pull(page, pull="last_good", revision="1")
    assert Template.objects.get().live_version.body == "Good"
    undo = reverse("lever_undo", args=[3])
    assert f'hx-post="{undo}"' in done.content.decode()
    page.post(undo)
    assert Template.objects.get().live_version.body == "Bad"
    late = page.post(undo)
    assert "toast error" in late.content.decode()
    assert revision() == 4


@pytest.mark.parametrize("asked", ["", "0", "x", "7", "-1"])
def test_changes_of_a_revision_that_cannot_be_restored_say_why(page, publish, asked):
    publish("enhance", "Good")
    answer = page.get(reverse("lever_changes"), {"revision": asked})
    assert answer.status_code == 200
    assert "table" not in answer.content.decode()


def test_without_a_script_the_page_pulls_and_ends(client_for, releaser, actor):
    client = client_for(releaser)
    html = client.get(reverse("levers")).content.decode()
    assert f'action="{reverse("lever_pull")}"' in html
    assert pull(client).headers["Location"] == reverse("levers")
    values = strip_values(client.get(reverse("levers")).content.decode())
    assert client.post(reverse("lever_end"), values).headers["Location"] == reverse("levers")
    assert Lever.objects.get().ended_at


def test_the_list_takes_the_same_queries_for_1_and_30(client_for, viewer, actor):
    def queries() -> int:
        client = client_for(viewer)
        client.get(reverse("levers"))
        with CaptureQueriesContext(connection) as captured:
            client.get(reverse("levers"))
        return len(captured)

    freeze(by=actor)
    live.refresh()
    one = queries()
    for _ in range(29):
        let_expire(Lever.objects.first())
        freeze(by=Actor("Somebody"))
    live.refresh()
    assert queries() == one
