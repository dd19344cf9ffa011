"""The search on the Prompts page: names, notes, texts of versions and own drafts."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from promptops.prompts.actions.drafts import save_draft
from promptops.prompts.actions.releases import Content
from promptops.prompts.actions.templates import archive, describe
from promptops.prompts.queries import search as queries
from promptops.prompts.queries.search import Passage, passage, search

pytestmark = pytest.mark.django_db


@pytest.fixture
def enhance(publish):
    publish("enhance", "Keep the subject first.\nThen the soft light.", note="from files")
    return publish("enhance", "Keep the subject first.\nThen the HARD light, 100% of it.", note="harder light").template


def labels(text: str, user) -> dict[str, list[str]]:
    return {
        group.template.name: [f"v{hit.version.number}" if hit.version else "draft" for hit in group.hits]
        for group in search(text, user).groups
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hard light", {"enhance": ["v2"]}),
        ("SOFT", {"enhance": ["v1"]}),
        ("from files", {"enhance": ["v1"]}),
        ("subject", {"enhance": ["v2", "v1"]}),
        ("enhan", {"enhance": []}),
        ("polish", {"enhance": []}),
        ("0%", {"enhance": ["v2"]}),
        ("0_", {}),
        ("%", {"enhance": ["v2"]}),
        ("_", {}),
        ("\\", {}),
        ("'", {}),
        ("first.\nThen", {"enhance": ["v2", "v1"]}),
    ],
)
def test_search_results(enhance, actor, viewer, text, expected):
    describe(enhance, "Polishes", by=actor)
    assert labels(text, viewer) == expected


@pytest.mark.parametrize(
    ("text", "matches"), [("ÉCLAIR", True), ("éclair", True), ("ЛЕС", True), ("日本", True), ("é.", False)]
)
def test_the_case_of_other_alphabets(publish, viewer, text, matches):
    publish("enhance", "Éclair, лес, 日本語.")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT upper('é') = 'É'")
            if not cursor.fetchone()[0]:
                pytest.skip("this database knows the case of ASCII letters only")
    assert bool(labels(text, viewer)) is matches


def test_user_templates_and_examples_are_searched(publish, editor, client_for):
    texts = {"user_template": "Scene: {{ input }}, in soft light", "examples": "a fox\n=>\nA fox in soft light."}
    template = publish("enhance", "Keep it short.", **texts).template
    save_draft(template, Content("x", user_template="{{ input }} at dusk"), user=editor, base=template.live_version_id)
    assert labels("dusk", editor) == {"enhance": ["draft"]}
    assert labels("A FOX", editor) == {"enhance": ["v1"]}
    (group,) = search("soft light", editor).groups
    (hit,) = group.hits
    assert [(label, match.match) for label, match in hit.passages] == [
        ("User template", "soft light"),
        ("Examples", "soft light"),
    ]
    assert hit.times == 2
    page = client_for(editor).get(reverse("prompts"), {"q": "soft light"}).content.decode()
    assert page.count("<mark>soft light</mark>") == 2


def test_only_the_author_finds_a_draft(enhance, editor, viewer, make_user):
    save_draft(enhance, Content("a secret plan"), user=editor, base=enhance.live_version_id)
    assert labels("secret", editor) == {"enhance": ["draft"]}
    assert labels("secret", viewer) == {}
    assert labels("secret", make_user("administrator", "root")) == {}


def test_archived_templates_are_found_and_marked(enhance, publish, actor, viewer, client_for):
    archive(publish("noir", "Dark and soft.", operation="enhance").template, by=actor)
    assert labels("soft", viewer) == {"enhance": ["v1"], "noir": ["v1"]}
    assert "archived" in client_for(viewer).get(reverse("prompts"), {"q": "Dark"}).content.decode()


def test_hits_are_bounded_and_the_page_says_so(publish, viewer, client_for, monkeypatch):
    monkeypatch.setattr(queries, "MAX_HITS", 8)
    for number in range(8):
        publish("enhance", f"Fox {number}")
    for name in ("one", "two", "three"):
        publish(name, "Fox", operation="enhance")
    results = search("fox", viewer)
    assert [len(group.hits) for group in results.groups] == [5, 1, 1, 1]
    assert (results.groups[0].more, results.hits, results.is_cut) == (3, 11, False)
    publish("zero", "Fox", operation="enhance")
    results = search("fox", viewer)
    assert (len(results.groups), results.is_cut) == (4, True)
    page = client_for(viewer).get(reverse("prompts"), {"q": "fox"}).content.decode()
    assert "and 3 older versions" in page
    assert "There are more results" in " ".join(page.split())


def test_the_page_marks_the_match_and_links_the_version(enhance, client_for, viewer):
    page = client_for(viewer).get(reverse("prompts"), {"q": "hard light"}).content.decode()
    assert "Then the <mark>HARD light</mark>, 100% of it." in page
    assert reverse("version", args=["enhance", 2]) in page
    assert "1 template." in client_for(viewer).get(reverse("prompts"), {"q": "nhanc"}).content.decode()
    assert "No results for" in client_for(viewer).get(reverse("prompts"), {"q": "no such words"}).content.decode()


@pytest.mark.parametrize("q", ["<script>alert(1)</script>", "a\x00b", "x" * 201, "(((", "[", "\ud7ff", "%00"])
def test_hostile_words(publish, client_for, viewer, q):
    publish("enhance", "<script>alert(1)</script>")
    response = client_for(viewer).get(reverse("prompts"), {"q": q})
    assert response.status_code == 200
    page = response.content.decode()
    assert "<script>alert" not in page
    if len(q) > 200 or "\x00" in q:
        assert re.search(r"at most 200 characters|Null characters", page)


def test_an_htmx_request_gets_only_the_results_or_the_list(enhance, client_for, viewer):
    client = client_for(viewer, htmx=True)
    for query, content in (({"q": "hard"}, "<mark>HARD</mark>"), ({}, "Live since")):
        page = client.get(reverse("prompts"), query).content.decode().strip()
        assert content in page
        assert page.startswith("<section")
    assert client.get(reverse("prompts"), {"q": ""})["Location"] == reverse("prompts")


def test_queries_do_not_grow_with_hits(publish, client_for, viewer):
    counts = []
    for count in (1, 30):
        for number in range(count):
            publish("enhance", f"Fox {count} {number}")
            publish(f"t{count}-{number}", "A fox", operation="enhance")
        client = client_for(viewer)
        client.get(reverse("prompts"), {"q": "fox"})
        with CaptureQueriesContext(connection) as captured:
            client.get(reverse("prompts"), {"q": "fox"})
        counts.append(len(captured))
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        ("a fox runs", "FOX", Passage("a ", "fox", " runs")),
        ("a\n\nfox\nruns", "fox\nruns", Passage("a ", "fox runs", "")),
        ("word " * 40 + "fox" + " word" * 40, "fox", Passage("…" + "word " * 11, "fox", " word" * 19 + "…")),
        ("x" * 500 + "fox" + "y" * 500, "fox", Passage("…" + "x" * 60, "fox", "y" * 100 + "…")),
        ("a dog", "fox", None),
    ],
)
def test_passages(source, text, expected):
    assert passage(source, text) == expected


@pytest.mark.django_db
def test_templates_are_found_by_their_operation(publish, viewer):
    publish("alternatives", "Offer three.", operation="rewrite")
    publish("enhance", "Polish it.")
    assert [group.template.name for group in search("REWR", viewer).groups] == ["alternatives"]
