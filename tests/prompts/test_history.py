"""The history of a template: its releases by day, each with its difference, on pages and while it is open."""

import html
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from promptops.fleet.actions import last_good
from promptops.ledger.models import Release
from promptops.prompts.actions import releases, templates
from promptops.prompts.actions.renaming import rename_reserved
from promptops.prompts.models import Template, Variable
from promptops.prompts.queries.releases import PAGE_SIZE

pytestmark = pytest.mark.django_db
URL = "/prompts/enhance/history/"
BEGAN = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)


def words(markup: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", markup))).strip()


def rows_of(response) -> list[str]:
    """Return the rows in words, without what their menus have."""
    page = re.sub(r"<details.*?</details>", "", response.content.decode(), flags=re.S)
    return [words(row) for row in re.findall(r'<tr class="linked.*?</tr>', page, re.S)]


def links_of(response) -> list[str]:
    return re.findall(r'<a class="cover"\s+href="([^"]+)"', response.content.decode())


def back_to(number: int, actor, note: str = "") -> None:
    template = Template.objects.get(name="enhance")
    version = template.versions.get(number=number)
    releases.roll_back(version, by=actor, expected=template.live_version_id, note=note)


def spread(hours: int = 1) -> None:
    """Let the releases be so many hours apart, the first one at BEGAN."""
    for place, revision in enumerate(Release.objects.order_by("revision").values_list("revision", flat=True)):
        Release.objects.filter(pk=revision).update(at=BEGAN + timedelta(hours=hours * place))


@pytest.fixture
def history(publish, actor):
    publish("enhance", "A calm camera.", note="The first")
    publish("enhance", "A quick camera moves.", note="More drive", temperature=0.3)
    publish("other", "Other.", operation="enhance")
    back_to(1, actor, "Too quick")
    spread()


def test_publishes_and_rollbacks_are_in_it_with_their_own_notes(history, client_for, viewer):
    response = client_for(viewer).get(URL)
    rolled_back, second, first = rows_of(response)
    assert "Rolled back to v1 by Ada Administrator Too quick" in rolled_back
    assert "Note of v1: The first" in rolled_back
    assert rolled_back.endswith("live")
    assert "v2 published by Ada Administrator More drive" in second
    assert "Note of" not in second
    assert second.endswith("live for 2 hours")
    assert "v1 published by Ada Administrator The first Nothing was live before" in first
    assert first.endswith("live for 1 hour")
    diff = reverse("template_diff", args=["enhance"])
    assert links_of(response) == [f"{diff}?a=2&amp;b=1", f"{diff}?a=1&amp;b=2", "/prompts/enhance/v1/"]


def test_a_row_is_the_difference_to_what_was_live(history, publish, client_for, viewer):
    publish("enhance", "A calm camera.", max_tokens=99)
    publish("enhance", "A calm camera!", max_tokens=99)
    mark, settings, rolled_back, second, _ = rows_of(client_for(viewer).get(URL))
    assert "+2 −1 words A [removed: calm ] [added: quick ] camera" in second
    assert "Temperature: default → 0.3" in second
    assert "+1 −2 words A [removed: quick ] [added: calm ] camera" in rolled_back
    assert "Max tokens: default → 99" in settings
    assert "words" not in settings
    assert "Punctuation A calm camera [removed: . ] [added: ! ]" in mark


def test_days_are_those_of_the_reader(history, client_for, viewer):
    client = client_for(viewer)

    def days() -> list[str]:
        return re.findall(r'<th scope="rowgroup"[^>]*>(.*?)</th>', client.get(URL).content.decode())

    assert days() == ["Monday, 2 March 2026", "Sunday, 1 March 2026"]
    client.cookies["tz"] = "America/Los_Angeles"
    assert days() == ["Sunday, 1 March 2026"]


def test_last_good_is_in_it_if_it_changed_the_template(history, publish, client_for, viewer, actor):
    restored = Release.objects.first().pk
    publish("other", "Another.", operation="enhance")
    last_good.restore_all(restored, by=actor, note="Only the other", expected=restored + 1)
    publish("enhance", "A broken camera.")
    last_good.restore_all(restored, by=actor, note="All was bad", expected=restored + 3)
    client = client_for(viewer)
    rows = rows_of(client.get(URL))
    with CaptureQueriesContext(connection) as captured:
        client.get(URL)
    assert len(rows) == 5
    assert f"v1 restored with all of r{restored} by Ada Administrator All was bad" in rows[0]
    assert "[removed: broken ] [added: calm ]" in rows[0]
    for _ in range(2):
        publish("enhance", "A broken camera.")
        last_good.restore_all(restored, by=actor, note="Again", expected=Release.objects.first().pk)
    with CaptureQueriesContext(connection) as later:
        assert len(rows_of(client.get(URL))) == 9
    assert len(later) == len(captured)


def test_other_releases_of_the_template_are_in_it(history, client_for, viewer, actor):
    Variable.objects.create(operation="enhance", name="input", value="x", changed_revision=1)
    template = Template.objects.get(name="enhance")
    templates.make_default(Template.objects.get(name="other"), by=actor, note="Better")
    templates.archive(template, by=actor, note="Not used")
    templates.restore(template, by=actor)
    Template.objects.filter(name="enhance").first().versions.update(body="Use {{ input }}.")
    rename_reserved(by=actor)
    rows = rows_of(client_for(viewer).get(URL))
    assert [row[6:24] for row in rows[:3]] == ["v3 with renamed va", "Restored by Ada Ad", "Archived by Ada Ad"]
    assert "[removed: input ] [added: input_var ]" in rows[0]
    assert "live for" in rows[3]
    empty = client_for(viewer).get("/prompts/other/history/")
    assert len(rows_of(empty)) == 2


def test_pages_go_on_from_a_release_and_know_when_their_newest_one_ended(publish, actor, client_for, viewer):
    for number in range(PAGE_SIZE + 3):
        publish("enhance", f"Text {number}.")
        publish("other", f"Other {number}.", operation="enhance")
    spread()
    client = client_for(viewer)
    first = client.get(URL)
    assert len(rows_of(first)) == PAGE_SIZE
    [older] = re.findall(r'rel="next" href="([^"]+)"', first.content.decode())
    second = client.get(html.unescape(older))
    assert [row.rpartition("live for ")[2] for row in rows_of(second)] == ["2 hours"] * 3
    assert "live:revision" in first.content.decode()
    assert "live:revision" not in second.content.decode()


def test_an_open_list_hears_only_of_its_own_releases(history, publish, client_for, viewer):
    client = client_for(viewer, htmx=True)
    since = int(re.search(r'name="since" value="(\d+)"', client.get(URL).content.decode())[1])
    publish("other", "Another.", operation="enhance")
    assert client.get(URL, {"news": "rows", "since": since}).status_code == 204
    publish("enhance", "A third camera.")
    counted = client.get(URL, {"news": "count", "since": since})
    assert "1 new release" in words(counted.content.decode())
    assert rows_of(counted) == []
    whole = client.get(URL, {"news": "rows", "since": since})
    assert (whole["HX-Retarget"], whole["HX-Reswap"]) == ("#list", "outerHTML")
    assert "v3 published" in rows_of(whole)[0]
    assert "news=" not in whole.content.decode()


@pytest.mark.parametrize(
    ("role", "offered"),
    [
        ("viewer", ["Compare v2 with what is live", "Show v2"]),
        ("editor", ["Edit from v2", "Compare v2 with what is live", "Show v2"]),
        ("releaser", ["Roll back to v2", "Edit from v2", "Compare v2 with what is live", "Show v2"]),
    ],
)
def test_the_menu_offers_what_a_person_may_do(history, client_for, make_user, role, offered):
    _, _, page = client_for(make_user(role)).get(URL).content.decode().partition('id="rows"')
    menu = re.findall(r"<details.*?</details>", page, re.S)[1]
    choices = [words(choice) for choice in re.findall(r'class="choice".*?>(.*?)</(?:a|button)>', menu, re.S)]
    assert choices == [*offered, "Show all that was live in r2"]
