"""The audit over HTTP: the list with its filters and live rows, one entry with its values, and refusals."""

import re
from datetime import UTC, datetime
from html import unescape

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from promptops.ledger import audit, registry, sentences
from promptops.ledger.models import AuditEntry
from promptops.people.actions import accounts
from promptops.people.actions.tokens import make_token
from promptops.people.tokens import actor_name
from promptops.platform.pages import PAGE_SIZE
from promptops.providers.actions import chain
from promptops.providers.models import Provider
from promptops.web.filters import action_choices
from tests.audit_tools import forget_everything, reseal, take_out, tamper
from tests.history.helpers import listed, text_of

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>"


def test_an_empty_list_teaches_the_next_step(client):
    assert "No entries yet" in text_of(client.get(reverse("audit")))
    assert "No entry matches" in text_of(client.get(reverse("audit"), {"action": "run"}))


def test_the_list_shows_sentences_newest_first(client, publish, actor):
    publish("enhance", "First.", note="why not")
    accounts.record_failed_sign_in("ada", address="203.0.113.9")
    response = client.get(reverse("audit"))
    assert listed(response) == [3, 2, 1]
    page = response.content.decode()
    assert "<b><bdi>Ada Administrator</bdi></b> published <b><bdi>enhance</bdi></b> v1" in page
    text = text_of(response)
    for words in ("Somebody failed to sign in as ada", "why not", "from 203.0.113.9", "from 192.0.2.7", "· r1"):
        assert words in re.sub(r" +", " ", text)
    assert text.index("failed to sign in") < text.index("published enhance")


def test_hostile_text_is_shown_as_text(client, record):
    by = audit.Actor(HOSTILE, address=HOSTILE)
    given = {"description": HOSTILE, "body": f"{HOSTILE}\n{HOSTILE}"}
    entry = record(
        "template.created", by=by, object_name=HOSTILE, before=given, after={"operation": HOSTILE}, note=HOSTILE
    )
    for address in (reverse("audit"), reverse("audit_entry", args=[entry.seq])):
        page = client.get(address).content.decode()
        assert HOSTILE not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_1_and_30_rows_take_the_same_queries(client, record):
    counts = []
    for count in (1, 30):
        while AuditEntry.objects.count() < count:
            record(object_name="enhance", before={"description": "a"}, after={"description": "b"})
        client.get(reverse("audit"))
        with CaptureQueriesContext(connection) as captured:
            assert len(listed(client.get(reverse("audit")))) == count
        counts.append(len(captured))
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"actor": "ada"}, [1, 2, 6, 7]),
        ({"actor": "rita"}, [3]),
        ({"actor": "system:Command line"}, [4]),
        ({"actor": "system:PromptOps"}, [5]),
        ({"action": "template"}, [1, 3, 4]),
        ({"action": "template.archived"}, [3, 4]),
        ({"action": "run.expired"}, [5]),
        ({"type": "template"}, [1]),
        ({"type": "user"}, [2]),
        ({"object": "NOIR"}, [1, 3]),
        ({"object": "noir", "action": "template.archived", "actor": "rita"}, [3]),
        ({"object": "noir", "actor": "system:PromptOps"}, []),
        ({"actor": "nobody"}, "all"),
        ({"action": "template.painted"}, "all"),
        ({"type": "sessions"}, "all"),
        ({"start": "2026-02-30"}, "all"),
    ],
)
def test_filters(client, actor, releaser, record, publish, query, expected):
    template = publish("noir", "Dark.", operation="enhance").template
    forget_everything()
    record("template.created", object=template, after={"operation": "enhance"})
    record("user.deactivated", object=releaser)
    record("template.archived", by=audit.Actor.person(releaser), object_name="noir-old")
    record("template.archived", by=audit.COMMAND_LINE, object_name="other")
    record("run.expired", by=audit.SYSTEM, object_name="runs", after={"runs": 2, "days": 30})
    record("settings.changed")
    record("settings.changed")
    response = client.get(reverse("audit"), query)
    assert sorted(listed(response)) == ([1, 2, 3, 4, 5, 6, 7] if expected == "all" else expected)
    if expected == "all":
        assert "This filter is left out" in text_of(response)


def test_entries_of_a_token_are_found_by_it_and_name_their_request(client, actor, record):
    token, _ = make_token("ci", ["release"], by=actor)
    by = audit.Actor(actor_name("ci", actor.name), token=token.pk, request_id="request-1")
    entry = record("template.archived", by=by, object_name="noir")
    response = client.get(reverse("audit_entry", args=[entry.seq]))
    assert "request-1" in text_of(response)
    (link,) = set(re.findall(r'href="([^"]*actor=system[^"]*)"', response.content.decode()))
    assert listed(client.get(unescape(link))) == [entry.seq]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"start": "2026-03-02"}, [2]),
        ({"end": "2026-03-01"}, [1]),
        ({"start": "2026-03-01", "end": "2026-03-02"}, [2, 1]),
        ({"start": "2026-03-03"}, []),
        ({"end": "2026-02-28"}, []),
    ],
)
def test_days_are_in_the_readers_time_zone(client, record, query, expected):
    record()
    record()
    # One minute before and after midnight in New York.
    tamper(1, at=datetime(2026, 3, 2, 4, 59, tzinfo=UTC))
    tamper(2, at=datetime(2026, 3, 2, 5, 1, tzinfo=UTC))
    client.cookies["tz"] = "America/New_York"
    assert listed(client.get(reverse("audit"), query)) == expected


@pytest.mark.parametrize("value", ["\x00", "x" * 500, HOSTILE, "%_", "🦊"])
@pytest.mark.parametrize("name", ["actor", "action", "type", "object", "q", "end", "after", "since"])
def test_hostile_filters_are_shown_as_text(client, record, name, value):
    record()
    response = client.get(reverse("audit"), {name: value})
    assert response.status_code == 200
    assert HOSTILE not in response.content.decode()


def test_the_list_of_actions_is_grouped_and_complete():
    choices = dict(action_choices())
    assert set(choices) == {"", *(registry.noun_label(action.noun) for action in registry.actions())}
    offered = [value for label, group in choices.items() if label for value, _ in group]
    assert {value for value in offered if "." in value} == set(registry.names())
    assert choices["Templates"][0] == ("template", "Templates: everything")


def test_pages_go_on_from_an_entry(client, record):
    for _ in range(PAGE_SIZE + 10):
        record()
    first = client.get(reverse("audit"))
    assert listed(first) == list(range(PAGE_SIZE + 10, 10, -1))
    second = client.get(reverse("audit"), {"before": 11})
    assert listed(second) == list(range(10, 0, -1))
    assert listed(client.get(reverse("audit"), {"after": 10})) == listed(first)
    assert "live:audit" in first.content.decode()
    assert "live:audit" not in second.content.decode()


def test_new_entries_that_match_the_filters_appear_as_rows(client, record):
    record()
    record("settings.changed")
    record()
    response = client.get(reverse("audit"), {"news": "rows", "since": 1, "action": "template"})
    assert listed(response) == [3]
    assert "<html" not in response.content.decode()
    assert "2 new entries" in text_of(client.get(reverse("audit"), {"news": "count", "since": 1}))
    assert client.get(reverse("audit"), {"news": "rows", "since": 3}).status_code == 204


def test_one_entry_shows_texts_as_a_diff_and_values_as_a_table(client, publish):
    publish("enhance", "Keep the subject.\nOne sentence.")
    publish("enhance", "Keep the hero.\nOne sentence.", temperature=0.2, note="heroes")
    entry = AuditEntry.objects.first()
    response = client.get(reverse("audit_entry", args=[entry.seq]))
    page = response.content.decode()
    assert re.search(r"<del>.*subject.*</del>", page)
    assert re.search(r"<ins>.*hero.*</ins>", page)
    text = text_of(response)
    for words in ("Temperature – 0.2", "heroes", entry.sha256, entry.previous_sha256, "fits the chain", "r2"):
        assert words in text
    assert reverse("version", args=["enhance", 2]) in page
    assert reverse("audit_entry", args=[entry.seq - 1]) in page
    assert reverse("audit_entry", args=[entry.seq + 1]) not in page
    assert client.get(reverse("audit_entry", args=[entry.seq + 1])).status_code == 404
    part = client.get(reverse("audit_entry", args=[entry.seq]), {"changes": 1}).content.decode()
    assert "<del>" in part
    assert "<html" not in part


@pytest.mark.parametrize(("tampered", "sealed_again", "bad"), [(2, False, [2]), (3, False, [3]), (1, True, [2])])
def test_an_entry_that_does_not_fit_the_chain_says_so(client, record, tampered, sealed_again, bad):
    for _ in range(3):
        record()
    (reseal if sealed_again else tamper)(tampered, note="because")
    pages = {seq: text_of(client.get(reverse("audit_entry", args=[seq]))) for seq in (1, 2, 3)}
    assert [seq for seq, page in pages.items() if "does not fit the chain" in page] == bad


def test_an_entry_after_a_missing_one_does_not_fit(client, record):
    record()
    record()
    take_out(1)
    assert "does not fit the chain" in text_of(client.get(reverse("audit_entry", args=[2])))


def test_an_entry_about_a_key_says_only_that_it_changed(client, actor):
    provider = chain.create_provider(chain.ProviderFields("groq", "groq", "m"), by=actor, key="gsk_very_secret_key")
    expected = Provider.objects.get().changed_revision
    chain.change_key(provider, by=actor, expected=expected, key="gsk_other_secret_key")
    entries = list(AuditEntry.objects.values_list("seq", flat=True))
    pages = [client.get(reverse("audit_entry", args=[seq])) for seq in entries]
    assert any("changed where the key of groq comes from" in text_of(page) for page in pages)
    assert "gsk_" not in "".join(page.content.decode() for page in [*pages, client.get(reverse("audit"))])


def test_entries_of_removed_actions_are_still_shown(client, record):
    entry = record()
    tamper(entry.seq, action="duel.started", before=["odd"], after="odd")
    assert "duel.started" in text_of(client.get(reverse("audit")))
    assert "duel.started" in text_of(client.get(reverse("audit_entry", args=[entry.seq])))


def test_a_long_text_is_shown(client, publish):
    publish("enhance", "wide shot " * 3000 + "x" * 300)
    publish("enhance", "close shot " * 3000 + "عربية 🦊")
    seq = AuditEntry.objects.first().seq
    assert "عربية 🦊" in client.get(reverse("audit_entry", args=[seq])).content.decode()


def test_a_refused_page_is_recorded_once(client, viewer):
    assert client.get(reverse("people")).status_code == 403
    assert client.get(reverse("people")).status_code == 403
    assert client.post(reverse("settings")).status_code == 403
    texts = [sentences.sentence(entry) for entry in AuditEntry.objects.all()]
    assert texts == [
        "Vera Viewer was refused: settings (POST, needs administer)",
        "Vera Viewer was refused: people (GET, needs administer)",
    ]
    entry = AuditEntry.objects.last()
    assert (entry.actor, entry.address, entry.after["path"]) == (viewer, "127.0.0.1", reverse("people"))
