"""The list of the command bar over HTTP: what is in it for whom, and the search where there are many names."""

import re
from html import unescape

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import get_resolver, reverse

from promptops.prompts.actions.templates import archive, create_template
from promptops.prompts.models import Template
from promptops.site.finding import MOST
from tests.factories import get_or_make_template, make_provider, make_run, publish

pytestmark = pytest.mark.django_db

OPTION = re.compile(r'role="option"[^>]* href="([^"]+)"[^>]*data-id="([^"]+)"[^>]*>\s*<span dir="auto">([^<]*)<')


@pytest.fixture
def listed(client_for):
    """`listed(user, "words")`: the entries as (address, id, label), in order, and whether there are more."""

    def ask(user, words="", *, recent=()):
        query = {"q": words} if words else {"recent": recent}
        html = client_for(user, htmx=True).get("/commands/", query).content.decode()
        return [tuple(map(unescape, option)) for option in OPTION.findall(html)], " data-more" in html

    return ask


@pytest.fixture
def labels(listed):
    """`labels(user, "words", "template")`: the labels of what is found of these kinds; of all without a kind."""

    def ask(user, words="", *kinds, recent=()):
        entries, _ = listed(user, words, recent=recent)
        if not kinds:
            return [label for _, id, label in entries if not id.startswith(("page:", "setting:"))]
        return [label for _, id, label in entries if id.partition(":")[0] in kinds]

    return ask


def many(number: int) -> None:
    Template.objects.bulk_create([Template(name=f"style-{number:03}", operation="enhance") for number in range(number)])


def test_no_page_carries_the_list(client_for, administrator):
    get_or_make_template("unlikely-name", "enhance")
    page = client_for(administrator).get("/settings/tokens/").content.decode()
    assert 'data-list="/commands/"' in page
    assert 'data-id="' not in page
    for url in ("/prompts/unlikely-name/", reverse("safety_terms"), reverse("texts_import"), "#id_timeout_ms"):
        assert url not in page


def test_every_page_without_a_number_in_its_address_is_in_the_list(listed, client_for, administrator):
    """A new page needs a line in `site.views.commands`."""
    known = {address for address, _, _ in listed(administrator)[0]}
    names = [name for name in get_resolver().reverse_dict if isinstance(name, str)]
    client = client_for(administrator)
    missing = set()
    for name in names:
        [(parts, *_)] = [get_resolver().reverse_dict.getlist(name)[0]]
        if any(parameters for _, parameters in parts):
            continue
        address = reverse(name)
        if address not in known and b'<main id="main"' in client.get(address).content:
            missing.add(address)
    assert missing == set()


def test_each_role_gets_what_it_may_open(listed, make_user, viewer, editor, administrator):
    get_or_make_template("enhance")
    make_user("viewer", "quinn", "Ada Quist")
    for user, new, people in ((viewer, False, False), (editor, True, False), (administrator, True, True)):
        entries, more = listed(user)
        addresses = [address for address, _, _ in entries]
        assert addresses[0] == "/"
        assert {"/runs/", "/timeline/", "/prompts/enhance/", "/account/password/"} < set(addresses)
        assert ("/prompts/new/" in addresses) == new
        assert ("/settings/people/" in addresses) == people
        assert bool([id for _, id, _ in listed(user, "quist")[0] if id.startswith("person:")]) == people
        assert not more


def test_a_person_who_may_not_change_a_provider_gets_the_list_of_providers(listed, viewer, administrator):
    provider = make_provider("acme-1")

    def address(user):
        [found] = [address for address, id, _ in listed(user, "acm")[0] if id.startswith("provider:")]
        return found

    assert address(administrator) == reverse("provider", args=[provider.pk])
    assert address(viewer) == reverse("providers")


def test_a_long_list_begins_with_the_defaults_and_is_searched_on_the_server(listed, labels, viewer):
    many(MOST + 5)
    Template.objects.create(name="usual", operation="rewrite", is_default=True)
    assert listed(viewer)[1]
    assert labels(viewer, "", "template")[0] == "usual"
    assert len(labels(viewer, "", "template")) == MOST
    entries, more = listed(viewer, "STYLE 024")
    assert ([label for _, id, label in entries if id.startswith("template:")], more) == (["style-024"], False)
    assert labels(viewer, "rewrite", "template") == ["usual"]
    assert labels(viewer, "%", "template") == labels(viewer, "[^", "template") == []
    assert labels(viewer, "usual \0", "template") == ["usual"]
    assert labels(viewer, "x" * 5000, "template") == []


def test_letters_may_be_missing_and_the_best_match_is_first(labels, viewer):
    for name in ("s-t-e-x", "steady", "my-ste", "other"):
        Template.objects.create(name=name, operation="enhance")
    assert labels(viewer, "ste", "template") == ["steady", "my-ste", "s-t-e-x"]


def test_versions_runs_and_revisions_are_found_by_number(labels, viewer):
    publish("enhance", "One.")
    publish("enhance", "Two.")
    publish("rewrite", "Short.")
    run = make_run()
    assert labels(viewer, "enhance v2") == ["enhance v2"]
    assert labels(viewer, "v2 enh", "version") == ["enhance v2"]
    assert labels(viewer, "v1", "version") == ["enhance v1", "rewrite v1"]
    assert labels(viewer, "enhance 2", "version") == ["enhance v2"]
    for words in (f"{run.pk}", f"#{run.pk}", f"run {run.pk}"):
        assert labels(viewer, words, "run") == [f"Run {run.pk}"]
    assert labels(viewer, "r1", "revision") == ["Revision 1"]
    assert labels(viewer, "v" + "9" * 40) == labels(viewer, "9" * 40) == labels(viewer, "#0") == []


def test_what_was_used_last_is_in_the_first_list(labels, viewer, releaser):
    many(MOST + 30)
    last = Template.objects.get(name="style-045")
    run = make_run()
    assert labels(viewer, "", "template", recent=[f"template:{last.pk}"])[0] == "style-045"
    assert labels(viewer, "", "run", recent=[f"run:{run.pk}", "run:x", "nothing", f"person:{releaser.pk}"]) == [
        f"Run {run.pk}"
    ]
    assert labels(viewer, "", "person", recent=[f"person:{releaser.pk}"]) == []


def test_settings_are_found_by_the_words_of_their_hints_and_names(client_for, viewer):
    html = client_for(viewer, htmx=True).get("/commands/").content.decode()
    [words] = re.findall(r'href="/settings/#id_run_retention_days"[^>]*data-words="([^"]+)"', html)
    assert "retention" in words
    page = client_for(viewer).get("/settings/").content.decode()
    assert "Keep the text of runs" in page


def test_archived_templates_are_not_in_the_list(labels, viewer, actor):
    create_template("first", "enhance", by=actor)
    archive(create_template("gone", "enhance", by=actor), by=actor)
    assert labels(viewer, "", "template") == ["first"]


@pytest.mark.parametrize("words", ["", "style", "enhance v1", "12"])
def test_the_number_of_statements_does_not_depend_on_the_number_of_rows(client_for, administrator, words):
    client = client_for(administrator, htmx=True)
    client.get("/commands/")

    def statements() -> int:
        with CaptureQueriesContext(connection) as sent:
            client.get("/commands/", {"q": words})
        return len(sent)

    get_or_make_template("style-one", "enhance")
    few = statements()
    many(200)
    assert statements() == few <= 14


def test_a_person_who_is_signed_out_is_sent_to_the_sign_in(client_for):
    answer = client_for(htmx=True).get(
        "/commands/", headers={"HX-Current-URL": "http://testserver/runs/?status=failed"}
    )
    assert answer["HX-Redirect"] == "/sign-in/?next=/runs/%3Fstatus%3Dfailed"
