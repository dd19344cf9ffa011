"""The list of the command bar over HTTP: what is in it for whom, and the search where there are many templates."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from promptops.prompts.actions.templates import archive, create_template
from promptops.prompts.models import Template
from promptops.site.views.commands import MOST_TEMPLATES
from tests.factories import get_or_make_template

pytestmark = pytest.mark.django_db


@pytest.fixture
def listed(client_for):
    """`listed(user, "words")`: the addresses in the list, in order, and whether there are more templates."""

    def ask(user, words=""):
        html = client_for(user, htmx=True).get("/commands/", {"q": words} if words else {}).content.decode()
        return re.findall(r'role="option"[^>]* href="([^"]+)"', html), " data-more" in html

    return ask


def templates_in(addresses: list[str]) -> list[str]:
    names = [re.fullmatch(r"/prompts/([\w-]+)/", address) for address in addresses]
    return [name[1] for name in names if name and name[1] != "new"]


@pytest.fixture
def many(db):
    Template.objects.bulk_create(
        [Template(name=f"style-{number:03}", operation="enhance") for number in range(MOST_TEMPLATES + 5)]
    )
    Template.objects.create(name="usual", operation="rewrite", is_default=True)


def test_no_page_carries_the_list(many, client_for, viewer):
    page = client_for(viewer).get("/settings/").content.decode()
    assert 'data-list="/commands/"' in page
    assert "/prompts/usual/" not in page


def test_each_role_gets_the_pages_that_it_may_open(listed, viewer, editor, administrator):
    get_or_make_template("enhance")
    for user, new, people in ((viewer, False, False), (editor, True, False), (administrator, True, True)):
        addresses, more = listed(user)
        assert addresses[0] == "/"
        assert {"/runs/", "/timeline/", "/variables/", "/account/password/"} < set(addresses)
        assert ("/prompts/new/" in addresses) == new
        assert ("/settings/people/" in addresses) == people
        assert templates_in(addresses) == ["enhance"]
        assert not more


def test_a_long_list_begins_with_the_defaults_and_is_searched_on_the_server(listed, many, viewer):
    addresses, more = listed(viewer)
    assert more
    assert templates_in(addresses)[0] == "usual"
    assert len(templates_in(addresses)) == MOST_TEMPLATES
    addresses, more = listed(viewer, "STYLE 024")
    assert (templates_in(addresses), more) == (["style-024"], False)
    assert templates_in(listed(viewer, "rewrite")[0]) == ["usual"]
    assert templates_in(listed(viewer, "%")[0]) == []
    assert templates_in(listed(viewer, "usual \0")[0]) == ["usual"]
    assert "/runs/" in addresses


def test_archived_templates_are_not_in_the_list(listed, viewer, actor):
    create_template("first", "enhance", by=actor)
    archive(create_template("gone", "enhance", by=actor), by=actor)
    assert templates_in(listed(viewer)[0]) == ["first"]


def test_the_list_takes_one_statement_beside_the_sign_in(client_for, viewer, many):
    client = client_for(viewer, htmx=True)
    client.get("/commands/")
    with CaptureQueriesContext(connection) as sent:
        client.get("/commands/")
    assert len([query for query in sent if "promptops_template" in query["sql"]]) == 1
    assert len(sent) <= 3


def test_a_person_who_is_signed_out_is_sent_to_the_sign_in(client_for):
    answer = client_for(htmx=True).get(
        "/commands/", headers={"HX-Current-URL": "http://testserver/runs/?status=failed"}
    )
    assert answer["HX-Redirect"] == "/sign-in/?next=/runs/%3Fstatus%3Dfailed"
