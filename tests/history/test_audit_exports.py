"""Exports of the audit over HTTP."""

import csv
import hashlib
import io
import json
import re
import subprocess
import sys
from urllib.parse import urlencode

import pytest
from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import connection, transaction
from django.test import AsyncClient
from django.urls import reverse

from promptops.ledger import audit
from promptops.ledger.models import AuditEntry
from promptops.web.exports import FORMULA, cell
from tests.history.helpers import text_of

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>"


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
def test_a_formula_after_the_possible_end_of_a_cell_is_disarmed(text, written):
    """In countries where ; separates cells, a spreadsheet may split a quoted cell."""
    assert cell(text) == written


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous")
def test_an_export_follows_the_filters_and_is_recorded(client, record, viewer):
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
def test_an_invalid_export_is_refused_and_not_recorded(client, format, query):
    response = client.post(f"{reverse('audit_export')}?{urlencode(query)}", {"format": format}, follow=True)
    assert "Nothing was exported" in text_of(response)
    assert not AuditEntry.objects.filter(action="audit.exported").exists()
    assert client.get(reverse("audit_export")).status_code == 405


@pytest.mark.django_db(transaction=True)
async def test_an_export_is_streamed_in_parts(make_user, actor, monkeypatch):
    """The server sends the first part before it has read all entries."""
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
