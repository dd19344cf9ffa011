"""The search of the audit over HTTP."""

import re
from datetime import UTC, datetime

import pytest
from django.urls import reverse

from promptops.ledger import audit, registry, sentences
from promptops.ledger.models import AuditEntry
from tests.audit_tools import tamper
from tests.history.helpers import listed, text_of

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("NOIR", [1, 2]),
        ("published noir", [1]),
        ("noir published", [1]),
        ("template.rolled", [2]),
        ("v12", [1]),
        ("12", [1]),
        ("v1", [1]),
        ("v13", []),
        ("rita", [4]),
        ("failed to sign", [3]),
        ("heroes", [2]),
        ("192.0.2.7", [1, 2, 5]),
        ("system settings", []),
        ("changed settings", [5]),
        ("audit.exp", []),
        ("template.published", [1]),
        ("100%", []),
        ("%_", []),
        ("  ", [1, 2, 3, 4, 5]),
    ],
)
def test_search_in_sentences(client, actor, releaser, record, words, expected):
    record("template.published", object_name="noir", after={"version": 12, "body": "secret sauce v13"})
    record("template.rolled_back", object_name="noir", after={"version": 9}, note="heroes are back")
    record("user.sign_in_failed", by=audit.SOMEBODY, object_name="an unknown name")
    record("user.signed_in", by=audit.Actor.person(releaser), object=releaser)
    record("settings.changed")
    assert sorted(listed(client.get(reverse("audit"), {"q": words}))) == expected


def test_a_search_finds_the_fixed_words_names_and_numbers_of_sentences(client, actor, record):
    for action in registry.names():
        values = {"version": 3, "days": 7, "runs": 8, "files": 9, "keys_lost": 4}
        record(action, object_name="thing", before=values, after=values)
    for entry in AuditEntry.objects.all():
        words = sentences.sentence(entry).replace("–", " ")
        assert entry.seq in listed(client.get(reverse("audit"), {"q": words})), words


def test_a_search_reads_a_limited_number_of_entries_and_can_continue(client, record, monkeypatch):
    monkeypatch.setattr("promptops.platform.pages.REACH", 20)
    monkeypatch.setattr("promptops.history.views.audit.REACH", 20)
    monkeypatch.setattr("promptops.platform.pages.PAGE_SIZE", 3)
    for number in range(1, 71):
        record(object_name="rare" if number in (5, 7, 33, 69) else "common")
    pages, address = [], reverse("audit") + "?q=rare"
    backwards = []
    while address:
        response = client.get(address)
        pages.append(listed(response))
        page = response.content.decode()
        assert len(pages) < 9
        if newer := re.search(r'href="([^"]+)" rel="prev"|rel="prev" href="([^"]+)"', page):
            backwards.append(newer[1] or newer[2])
        older = re.search(r'rel="next" href="([^"]+)"', page)
        address = older and older[1].replace("&amp;", "&")
    assert pages == [[69], [33], [], [7, 5]]
    assert "Searching older entries" in text_of(client.get(reverse("audit"), {"q": "rare", "before": 31}))
    assert "Searched back to" in text_of(client.get(reverse("audit"), {"q": "rare"}))
    # Going back page by page shows the same rows again.
    met, address = [], backwards[-1].replace("&amp;", "&")
    for _ in range(6):
        response = client.get(address)
        met += listed(response)
        newer = re.search(r'rel="prev" href="([^"]+)"', response.content.decode())
        if newer is None:
            break
        address = newer[1].replace("&amp;", "&")
    assert {33, 69} <= set(met)
    # A common word fills each page, and the pages have no gap.
    first = client.get(reverse("audit"), {"q": "common"})
    assert listed(first) == [70, 68, 67]
    assert listed(client.get(reverse("audit"), {"q": "common", "before": 67})) == [66, 65, 64]
    assert listed(client.get(reverse("audit"), {"q": "common", "after": 40})) == [43, 42, 41]


def test_new_entries_that_match_a_search_appear_as_rows(client, record):
    for name in ("one", "two", "one more"):
        record(object_name=name)
    assert listed(client.get(reverse("audit"), {"news": "rows", "since": 1, "q": "one"})) == [3]


def test_a_clock_that_was_set_back_hides_no_entry(client, record):
    for _ in range(4):
        record()
    for seq, hour in ((1, 10), (2, 12), (3, 11), (4, 13)):  # entry 3 was written after entry 2, by an earlier clock
        tamper(seq, at=datetime(2026, 3, 1 if hour == 10 else 2, 0 if hour != 12 else 1, hour, tzinfo=UTC))
    tamper(3, at=datetime(2026, 3, 1, 23, 59, tzinfo=UTC))
    assert listed(client.get(reverse("audit"), {"end": "2026-03-01"})) == [3, 1]
    assert listed(client.get(reverse("audit"), {"start": "2026-03-02"})) == [4, 2]
