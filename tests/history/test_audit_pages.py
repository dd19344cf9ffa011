"""The audit over HTTP: the list with its filters and its live tail, and one entry with before and after."""

import csv
import hashlib
import io
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import connection, transaction
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from promptops.ledger import audit, registry
from promptops.ledger.models import AuditEntry
from promptops.people import actions as accounts
from promptops.platform.pages import PAGE_SIZE
from promptops.providers.actions import providers
from promptops.providers.models import Provider
from promptops.web.exports import FORMULA, cell
from promptops.web.filters import action_choices
from tests.audit_tools import forget_everything, reseal, rewrite, take_out, tamper, without_triggers

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def client(client_for, viewer):
    client = client_for(viewer)
    forget_everything()  # the sign-in, so that tests know what is there
    return client


@pytest.fixture
def record(actor):
    def make(action: str = "template.described", by=actor, **fields) -> AuditEntry:
        with transaction.atomic():
            return audit.record(action, by=by, **fields)

    return make


def listed(response) -> list[int]:
    return [int(seq) for seq in re.findall(r'name="since" value="(\d+)"', response.content.decode())]


def text_of(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_an_empty_list_teaches_the_next_step(client):
    assert "No entries yet" in text_of(client.get(reverse("audit")))
    assert "No entry matches" in text_of(client.get(reverse("audit"), {"action": "run"}))


def test_the_list_tells_the_story_newest_first(client, publish, actor):
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


def test_queries_do_not_grow_with_rows(client, record):
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
def test_days_are_those_of_the_reader(client, record, query, expected):
    record()
    record()
    # One minute before and after midnight in New York.
    tamper(1, at=datetime(2026, 3, 2, 4, 59, tzinfo=UTC))
    tamper(2, at=datetime(2026, 3, 2, 5, 1, tzinfo=UTC))
    client.cookies["tz"] = "America/New_York"
    assert listed(client.get(reverse("audit"), query)) == expected


@pytest.mark.parametrize("value", ["\x00", "x" * 500, HOSTILE, "%_", "🦊"])
@pytest.mark.parametrize("name", ["actor", "action", "type", "object", "q", "end", "after", "since"])
def test_hostile_filters_are_shown_as_text_and_break_nothing(client, record, name, value):
    record()
    response = client.get(reverse("audit"), {name: value})
    assert response.status_code == 200
    assert HOSTILE not in response.content.decode()


def test_the_list_of_actions_is_grouped_and_whole():
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


def test_new_entries_come_as_rows_that_match_the_filters(client, record):
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


def test_an_entry_with_a_missing_one_before_it_does_not_fit(client, record):
    record()
    record()
    take_out(1)
    assert "does not fit the chain" in text_of(client.get(reverse("audit_entry", args=[2])))


def test_a_key_is_told_only_as_changed(client, actor):
    provider = providers.create_provider(
        providers.ProviderFields("groq", "groq", "m"), by=actor, key="gsk_very_secret_key"
    )
    expected = Provider.objects.get().changed_revision
    providers.change_key(provider, by=actor, expected=expected, key="gsk_other_secret_key")
    entries = list(AuditEntry.objects.values_list("seq", flat=True))
    pages = [client.get(reverse("audit_entry", args=[seq])) for seq in entries]
    assert any("changed where the key of groq comes from" in text_of(page) for page in pages)
    assert "gsk_" not in "".join(page.content.decode() for page in [*pages, client.get(reverse("audit"))])


def test_entries_of_actions_that_are_gone_are_still_told(client, record):
    entry = record()
    tamper(entry.seq, action="duel.started", before=["odd"], after="odd")
    assert "duel.started" in text_of(client.get(reverse("audit")))
    assert "duel.started" in text_of(client.get(reverse("audit_entry", args=[entry.seq])))


def test_a_long_text_is_shown(client, publish):
    publish("enhance", "wide shot " * 3000 + "x" * 300)
    publish("enhance", "close shot " * 3000 + "عربية 🦊")
    seq = AuditEntry.objects.first().seq
    assert "عربية 🦊" in client.get(reverse("audit_entry", args=[seq])).content.decode()


# ---------------------------------------------------------------- search


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("NOIR", [1, 2]),
        ("published noir", [1]),
        ("noir published", [1]),
        ("rolled back noir", [2]),
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


def test_whatever_a_sentence_says_in_fixed_words_names_and_numbers_is_found(client, actor, record):
    for action in registry.names():
        values = {"version": 3, "days": 7, "runs": 8, "files": 9, "keys_lost": 4}
        record(action, object_name="thing", before=values, after=values)
    for entry in AuditEntry.objects.all():
        said = audit.sentence(entry).replace("–", " ")
        found = listed(client.get(reverse("audit"), {"q": said}))
        assert entry.seq in found, said


def test_a_search_looks_through_so_many_entries_a_page_and_can_be_carried_on(client, record, monkeypatch):
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
    assert "Older entries are being searched" in text_of(client.get(reverse("audit"), {"q": "rare", "before": 31}))
    assert "were searched" in text_of(client.get(reverse("audit"), {"q": "rare"}))
    # Back, page by page, the same rows are met again.
    met, address = [], backwards[-1].replace("&amp;", "&")
    for _ in range(6):
        response = client.get(address)
        met += listed(response)
        newer = re.search(r'rel="prev" href="([^"]+)"', response.content.decode())
        if newer is None:
            break
        address = newer[1].replace("&amp;", "&")
    assert {33, 69} <= set(met)
    # The common word fills its page at once, and pages follow each other without a gap.
    first = client.get(reverse("audit"), {"q": "common"})
    assert listed(first) == [70, 68, 67]
    assert listed(client.get(reverse("audit"), {"q": "common", "before": 67})) == [66, 65, 64]
    assert listed(client.get(reverse("audit"), {"q": "common", "after": 40})) == [43, 42, 41]


def test_new_entries_that_match_a_search_come_as_rows(client, record):
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


# ---------------------------------------------------------------- checking


def test_the_check_shows_the_head_and_takes_it_as_a_pin(client, record):
    for _ in range(3):
        record()
    response = client.get(reverse("audit_verify"))
    assert "The chain is whole" in text_of(response)
    pin = re.search(r'id="chain-head">([^<]+)<', response.content.decode())[1]
    assert pin == str(audit.verify().head)
    record()
    assert "goes through the pinned entry #3" in text_of(client.get(reverse("audit_verify"), {"pin": pin}))
    rewrite(2, note="because")
    assert "The chain is whole" in text_of(client.get(reverse("audit_verify")))
    text = text_of(client.get(reverse("audit_verify"), {"pin": pin}))
    assert "Entry 3 is not the one that was pinned" in text
    assert "The chain is whole" not in text
    refused = client.get(reverse("audit_verify"), {"pin": HOSTILE})
    assert refused.status_code == 422
    assert "A pin is the number" in text_of(refused)
    assert HOSTILE not in refused.content.decode()


def test_the_check_goes_on_step_by_step(client, record, monkeypatch):
    monkeypatch.setattr("promptops.history.views.audit.STEP_SECONDS", 0)
    monkeypatch.setattr(audit, "BATCH", 4)
    for _ in range(10):
        record()
    pin = str(audit.verify().head)
    steps, address = [], f"{reverse('audit_verify')}?pin={pin}"
    while address:
        page = client.get(address, headers={"HX-Request": "true"}).content.decode()
        assert len(steps) < 9
        steps.append(page)
        following = re.search(r'hx-get="([^"]+)"', page)
        address = following and following[1].replace("&amp;", "&")
    assert len(steps) > 2
    assert "4 of 10 entries" in steps[0]
    assert "The chain is whole" in steps[-1]
    step = re.search(r"step=([^&\"]+)", steps[-2])[1]
    # A step of another pin, or one that somebody made up, begins anew.
    for query in (f"step={step}", f"step={step[:-2]}xx&pin={pin}"):
        assert "4 of 10 entries" in client.get(f"{reverse('audit_verify')}?{query}").content.decode()


def test_the_check_says_what_is_wrong_and_when_triggers_are_missing(client, record):
    for _ in range(3):
        record()
    tamper(2, note="because")
    text = text_of(client.get(reverse("audit_verify")))
    assert "Entry 2 was changed" in text
    assert "does not protect" not in text
    with without_triggers():
        assert "The database does not protect the audit" in text_of(client.get(reverse("audit_verify")))


# ---------------------------------------------------------------- exports


def export(client, format: str, **query: str) -> bytes:
    response = client.post(f"{reverse('audit_export')}?{urlencode(query)}", {"format": format})
    assert response.status_code == 200
    assert f".{format}" in response["Content-Disposition"]
    return b"".join(response)


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous")
def test_an_export_as_jsonl_can_be_verified_by_anybody(client, record, monkeypatch):
    monkeypatch.setattr(audit, "BATCH", 3)
    for number in range(8):
        record(before={"ж": [1.5, None, True]}, after={"text": "🦊\n\u2028"}, note=HOSTILE, object_name=f"o {number}")
    lines = export(client, "jsonl").decode().split("\n")
    assert lines.pop() == ""
    previous = audit.GENESIS
    for number, line in enumerate(lines, start=1):
        entry = json.loads(line)
        claimed = entry.pop("sha256")
        assert (entry["seq"], entry["previous_sha256"]) == (number, previous)
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        previous = hashlib.sha256(text.encode()).hexdigest()
        assert previous == claimed
    assert number == 8


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous")
def test_the_script_in_the_docs_verifies_an_export_and_finds_a_change(client, record, tmp_path):
    for number in range(4):
        record(note=f"ж {number}", after={"a": 0.5})
    exported = export(client, "jsonl").decode()
    page = (settings.BASE_DIR / "docs" / "audit.md").read_text()
    script = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]

    def verify(text: str) -> subprocess.CompletedProcess:
        (tmp_path / "audit.jsonl").write_text(text)
        return subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)

    done = verify(exported)
    assert done.returncode == 0, done.stderr
    assert f"4:{AuditEntry.objects.get(seq=4).sha256}" in done.stdout
    assert verify(exported.replace("ж 2", "ж 7")).returncode != 0
    assert verify("".join(exported.splitlines(keepends=True)[1:])).returncode != 0


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous")
def test_an_export_as_csv_has_a_sentence_and_no_formula(client, record, actor):
    record("template.published", object_name="=1+1", after={"version": 2}, note='@SUM(A1), "x"\nß')
    record("settings.changed", by=audit.Actor(" +cmd"), before={"temperature": -1})
    rows = list(csv.DictReader(io.StringIO(export(client, "csv").decode(), newline="")))
    assert [row["seq"] for row in rows] == ["1", "2"]
    assert rows[0]["object_name"] == "'=1+1"
    assert rows[0]["note"] == '\'@SUM(A1), "x"\nß'
    assert rows[0]["sentence"] == "Ada Administrator published =1+1 v2"
    assert rows[1]["actor_name"] == "' +cmd"
    assert rows[1]["before"] == '{"temperature":-1}'
    assert rows[1]["sha256"] == AuditEntry.objects.get(seq=2).sha256
    assert not any(value.startswith(FORMULA) for row in rows for value in row.values())


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("fog;=cmd|' /C calc'!A0", "fog;'=cmd|' /C calc'!A0"),
        ("fog; +1\n@SUM(A1)\t-2", "fog; '+1\n'@SUM(A1)\t'-2"),
        ("a = b - c; d", "a = b - c; d"),
        ("＝1", "'＝1"),
    ],
)
def test_no_formula_hides_behind_what_a_spreadsheet_may_take_for_the_end_of_a_cell(text, written):
    """Where ; separates cells, quotes inside of what is taken for one cell keep nothing together."""
    assert cell(text) == written


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous")
def test_an_export_follows_the_filters_and_is_told(client, record, viewer):
    record("settings.changed")
    record("template.archived", object_name="noir")
    record("template.archived", object_name="other")
    lines = export(client, "jsonl", action="template", q="noir archived").decode().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [2]
    entry = AuditEntry.objects.first()
    assert (entry.action, entry.actor) == ("audit.exported", viewer)
    assert entry.after == {"format": "jsonl", "action": "template", "q": "noir archived"}
    assert "Search" in text_of(client.get(reverse("audit_entry", args=[entry.seq])))
    assert export(client, "csv", action="run").decode().count("\n") == 1


@pytest.mark.parametrize(("format", "query"), [("exe", {}), ("", {}), ("csv", {"end": "yesterday"})])
def test_an_export_that_cannot_be_made_is_refused_and_not_told(client, format, query):
    response = client.post(f"{reverse('audit_export')}?{urlencode(query)}", {"format": format}, follow=True)
    assert "Nothing was exported" in text_of(response)
    assert not AuditEntry.objects.filter(action="audit.exported").exists()
    assert client.get(reverse("audit_export")).status_code == 405


@pytest.mark.django_db(transaction=True)
async def test_an_export_is_streamed_in_parts(make_user, actor, monkeypatch):
    """As the server sends it: nothing is gathered before the first part goes."""
    monkeypatch.setattr(audit, "BATCH", 10)

    @transaction.atomic
    def prepare():
        for _ in range(35):
            audit.record("settings.changed", by=actor)
        return make_user("viewer", "vera")

    user = await database_sync_to_async(prepare)()
    client = AsyncClient()
    await client.aforce_login(user, backend="django.contrib.auth.backends.ModelBackend")
    response = await client.post(reverse("audit_export"), {"format": "jsonl"})
    assert response.is_async
    parts = [part async for part in response]
    await sync_to_async(
        lambda: connection.close()
    )()  # of the thread that read; the server closes it after each request
    assert [part.count(b"\n") for part in parts] == [0, 10, 10, 10, 6]


# ---------------------------------------------------------------- refusals


def test_who_is_refused_a_page_is_told(client, viewer):
    assert client.get(reverse("people")).status_code == 403
    assert client.get(reverse("people")).status_code == 403
    assert client.post(reverse("settings")).status_code == 403
    told = [audit.sentence(entry) for entry in AuditEntry.objects.all()]
    assert told == [
        "Vera Viewer was refused: settings (POST, needs administer)",
        "Vera Viewer was refused: people (GET, needs administer)",
    ]
    entry = AuditEntry.objects.last()
    assert (entry.actor, entry.address, entry.after["path"]) == (viewer, "127.0.0.1", reverse("people"))
