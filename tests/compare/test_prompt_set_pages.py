"""Prompt sets over HTTP: the form and its files, refusals, the pages and the downloads."""

import html
import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from promptops.compare.actions import prompt_sets
from promptops.compare.models import PromptSet
from promptops.ledger import sentences
from promptops.ledger.models import AuditEntry, ExportTally
from promptops.runs.models import Run

pytestmark = pytest.mark.django_db
NEW = "/compare/sets/new/"


@pytest.fixture
def foxes(actor) -> PromptSet:
    return prompt_sets.create_set("Foxes", ["a fox", "two foxes"], by=actor, description="Red <b>ones</b>")


@pytest.fixture
def client(client_for, editor):
    return client_for(editor)


@pytest.fixture
def htmx(client_for, editor):
    return client_for(editor, htmx=True)


def text_of(response) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode())))


def form(text: str = "", file: str | bytes | None = None, filename: str = "mine.csv", **fields) -> dict:
    data = {"name": "Mine", "description": "", "text": text, "separator": "lines", "column": "", "expected": ""}
    if file is not None:
        data["file"] = SimpleUploadedFile(filename, file.encode() if isinstance(file, str) else file)
    return data | fields


def inputs_of(name: str = "Mine") -> list[str]:
    return PromptSet.objects.get(name=name).inputs


@pytest.mark.parametrize(
    ("sent", "inputs", "message"),
    [
        (form("a fox\r\n\r\ntwo foxes\r\na fox"), ["a fox", "two foxes"], "Repeated inputs left out: 1."),
        (form("a\r\nb\r\n\r\nc", separator="blocks"), ["a\nb", "c"], "Inputs: 2."),
        (form('{"text": "a\\n\\nb"}', separator="jsonl"), ["a\n\nb"], "Inputs: 1."),
        (form(file="id,prompt\n1,a fox\n"), ["a fox"], "from the column “prompt”"),
        (form(file="prompt\tshort\na fox\tfox\n", filename="M.TSV", column="short"), ["fox"], "the column “short”"),
        (form("typed", file='"uploaded"\n', filename="m.jsonl"), ["typed", "uploaded"], "Inputs: 2."),
        (form(file="\ufeffa\n\nb", filename="m.txt"), ["a", "b"], "Inputs: 2."),
        (form(file="a\nb\n\nc", filename="m.txt", separator="blocks"), ["a\nb", "c"], "Inputs: 2."),
    ],
)  # fmt: skip
def test_inputs_from_the_box_and_from_files(sent, inputs, message, client):
    response = client.post(NEW, sent, follow=True)
    assert inputs_of() == inputs
    assert response.redirect_chain == [(reverse("prompt_set", args=[PromptSet.objects.get().pk]), 302)]
    assert message in text_of(response)
    assert AuditEntry.objects.get(action="prompt_set.created").actor_name == "Eddie Editor"


@pytest.mark.parametrize(
    ("sent", "messages"),
    [
        (form(), ["There are no inputs yet. Type at least one, or upload a file."]),
        (form("a", name=" "), ["Enter a name for the set."]),
        (form("a", name="Foxes"), ["A prompt set of that name exists. Choose another name."]),
        (form("a", separator="xml"), ["Choose the format of the box."]),
        (form("ok\r\nb\0"), ["Line 2: The input holds a NUL character"]),
        (form("ok\r\n" + "x" * 16_001), ["Line 2: The input is 16,001 characters; at most 16,000 are allowed."]),
        (form(file=b"ok\nb\xe9\n"), ["mine.csv: Line 2: byte 2 of the line is not UTF-8"]),
        (form(file="", filename="m.txt"), ["There are no inputs yet."]),
        (form(file="a", filename="m.xlsx"), ["m.xlsx has an unknown file type. Upload .txt"]),
        (form(file="x" * (8 * 1024 * 1024 + 1)), ["mine.csv is 8,388,609 bytes. The limit is 8,388,608 (8 MiB)."]),
        (form(file="a,b\n", column="c"), ["mine.csv, line 1: No column is called “c”."]),
        (form("ok", file="prompt\na\n\"open\n"), ["mine.csv, line 3: The row that starts here is unreadable"]),
        (form("\n".join(map(str, range(2_001)))), ["These are 2,001 inputs. A set holds at most 2,000."]),
        (form(file="\n".join(["{}"] * 14), filename="m.jsonl"), ["m.jsonl, line 1:", "line 10:", "And 4 more."]),
        (form(file=f'"a"\n7\n"{"x" * 16_001}"', filename="m.jsonl"), ["line 2: The line must", "line 3: The input is"]),
    ],
)  # fmt: skip
def test_a_refused_form_saves_nothing_and_keeps_what_was_typed(sent, messages, foxes, client, htmx):
    for sender in (client, htmx):
        if "file" in sent:
            sent["file"].seek(0)
        response = sender.post(NEW, sent)
        assert response.status_code == 422
        text = text_of(response)
        assert [part for part in [*messages, "Nothing was saved."] if part not in text] == []
        assert "line 11" not in text
        assert list(PromptSet.objects.all()) == [foxes]
        if sender is client and "\0" not in sent["text"]:
            assert html.unescape(response.content.decode()).count(sent["text"]) >= 1
        if sender is htmx:
            assert "<form" not in response.content.decode()  # only the reasons; the open page still has the form


def test_a_form_that_is_too_long_is_refused(htmx):
    response = htmx.post(NEW, form("x" * 1_100_000))
    assert response.status_code == 413
    assert "This page accepts at most 1 MiB" in text_of(response)
    assert not PromptSet.objects.exists()


def test_changing_a_set(foxes, htmx):
    url = reverse("prompt_set_edit", args=[foxes.pk])
    response = htmx.post(url, form("a bear", name="Bears", expected=1))
    assert response["HX-Redirect"] == reverse("prompt_set", args=[foxes.pk])
    assert inputs_of("Bears") == ["a bear"]
    response = htmx.post(url, form("a bear", name="Bears", expected=2))
    assert response.status_code == 422
    assert "no changes to save" in text_of(response)


@pytest.mark.parametrize("kind", ["client", "htmx"])
def test_a_conflict_shows_both_and_a_second_save_replaces_theirs(kind, request, foxes, actor):
    sender = request.getfixturevalue(kind)
    prompt_sets.change_set(foxes, name="Foxes", description="", inputs=["their fox"], by=actor, expected=1)
    url = reverse("prompt_set_edit", args=[foxes.pk])
    response = sender.post(url, form("my fox", name="Foxes", expected=1))
    assert response.status_code == 409
    assert "Someone changed this set while you were editing" in text_of(response)
    assert "their" in text_of(response)
    assert inputs_of("Foxes") == ["their fox"]
    if kind == "client":
        assert re.search(r"<textarea[^>]*>\s*my fox</textarea>", response.content.decode())
    expected = re.search(r'name="expected" (?:value="(\d+)"|id="id_expected" value="(\d+)")', response.content.decode())
    assert expected
    sender.post(url, form("my fox", name="Foxes", expected=expected[1] or expected[2]))
    assert inputs_of("Foxes") == ["my fox"]


def test_an_open_form_learns_that_somebody_changed_the_set(foxes, actor, htmx):
    url = reverse("prompt_set_edit", args=[foxes.pk])
    assert "Someone changed" not in htmx.get(url, {"seen": 1}).content.decode()
    prompt_sets.change_set(foxes, name="Foxes", description="", inputs=["other"], by=actor, expected=1)
    assert "Someone changed this set." in htmx.get(url, {"seen": 1}).content.decode()


def test_an_open_page_fetches_only_what_changed(foxes, actor, htmx):
    url = reverse("prompt_set", args=[foxes.pk])
    assert htmx.get(url, {"seen": 1}).status_code == 204
    prompt_sets.archive(foxes, by=actor)
    assert "archived" in text_of(htmx.get(url, {"seen": 1}))


@pytest.mark.parametrize(
    ("inputs", "separator"), [(["a", "b"], "lines"), (["a\nb", "c"], "blocks"), (["a\n\nb", "c"], "jsonl")]
)
def test_the_edit_form_holds_the_set_as_it_is(inputs, separator, actor, client):
    made = prompt_sets.create_set("Mine", inputs, by=actor)
    page = client.get(reverse("prompt_set_edit", args=[made.pk]))
    initial = page.context["form"].initial
    assert initial["separator"] == separator
    response = client.post(page.request["PATH_INFO"], form(initial["text"], separator=separator, expected=1))
    assert "no changes to save" in text_of(response)


def test_a_set_too_long_for_a_form_is_changed_by_a_file(actor, client):
    long = prompt_sets.create_set("Long", [f"{number} " + "x" * 15_000 for number in range(30)], by=actor)
    url = reverse("prompt_set_edit", args=[long.pk])
    page = client.get(url)
    assert "too long for a form" in text_of(page)
    assert 'name="text"' not in page.content.decode()
    response = client.post(url, {"name": "Long", "separator": "lines", "expected": 1, "column": ""})
    assert "There are no inputs yet" in text_of(response)
    assert "too long for a form" in text_of(response)
    jsonl = client.post(reverse("prompt_set_jsonl", args=[long.pk])).content + b'"one more"\n'
    file = SimpleUploadedFile("long.jsonl", jsonl)
    client.post(url, {"name": "Long", "separator": "lines", "expected": 1, "column": "", "file": file})
    assert inputs_of("Long")[-1] == "one more"
    assert len(inputs_of("Long")) == 31


def test_inputs_of_past_runs_are_shown_before_they_are_saved(client):
    required = {
        "source": "preview",
        "temperature": 1,
        "max_tokens": 9,
        "revision": 1,
        "latency_ms": 1,
        "status": "failed",
    }
    for text in ("a\nb", "</textarea><script>", "a\nb"):
        Run.objects.create(operation="auto_extend", input=text, **required)
    page = client.get(NEW, {"operation": "auto_extend", "newest": 10})
    assert "2 inputs of auto_extend are in the box" in text_of(page)
    assert page.context["form"].initial == {"text": "a\nb\n\n</textarea><script>\n", "separator": "blocks"}
    assert "<script>\n" not in page.content.decode()
    assert not PromptSet.objects.exists()
    assert "no run of rewrite" in text_of(client.get(NEW, {"operation": "rewrite", "newest": 10}))
    for newest, error in (("0", "Choose at least 1"), ("2001", "Choose at most 2,000"), ("x", "Enter a whole number")):
        assert error in text_of(client.get(NEW, {"operation": "rewrite", "newest": newest}))


def test_the_list(foxes, actor, client_for, viewer):
    prompt_sets.archive(prompt_sets.create_set("Bears", ["a bear"], by=actor), by=actor)
    client = client_for(viewer)
    url = reverse("prompt_sets")
    page = client.get(url)
    assert "Foxes" in text_of(page)
    assert "Bears" not in text_of(page)
    assert "Red &lt;b&gt;ones" in page.content.decode()
    assert NEW not in page.content.decode()
    assert "Bears" in text_of(client.get(url, {"archived": 1}))
    assert "Foxes" in text_of(client.get(url, {"q": "red"}))
    assert "No set contains these words" in text_of(client.get(url, {"q": "whale\0"}))


def test_queries_do_not_grow_with_rows(client_for, viewer, actor):
    client = client_for(viewer)
    counts = []
    for count in (1, 30):
        for number in range(PromptSet.objects.count(), count):
            made = prompt_sets.create_set(f"Set {number}", [f"{number} {place}" for place in range(count)], by=actor)
        for url in (reverse("prompt_sets"), reverse("prompt_set", args=[made.pk])):
            client.get(url)
            with CaptureQueriesContext(connection) as captured:
                assert client.get(url).status_code == 200
            counts.append(len(captured))
    assert counts[:2] == counts[2:]


def test_the_inputs_are_paged_searched_and_escaped(actor, client):
    texts = [f"fox {place}" for place in range(1, 120)] + ["<script>alert(1)</script>"]
    many = prompt_sets.create_set("Many", texts, by=actor)
    url = reverse("prompt_set", args=[many.pk])
    assert "Page 1 of 3" in text_of(client.get(url))
    last = client.get(url, {"page": 3})
    assert "fox 101" in text_of(last)
    assert "<script>alert" not in last.content.decode()
    assert "1 of 120 inputs" in text_of(client.get(url, {"q": "FOX 119"}))
    assert "No input contains these words" in text_of(client.get(url, {"q": "whale"}))
    assert client.get(url, {"page": "9" * 30}).status_code == 200


@pytest.mark.parametrize(
    ("inputs", "text"),
    [(["a", "ü"], "a\nü\n"), (["a\nb", "c"], "a\nb\n\nc\n"), (["a\n\nb"], None)],
)
def test_downloads(inputs, text, actor, client_for, viewer):
    client = client_for(viewer)
    made = prompt_sets.create_set("My ünique “set”", inputs, by=actor)
    response = client.post(reverse("prompt_set_text", args=[made.pk]))
    link = (
        reverse("prompt_set_text", args=[made.pk]) in client.get(reverse("prompt_set", args=[made.pk])).content.decode()
    )
    assert link is (text is not None)
    assert response.status_code == (404 if text is None else 200)
    if text is not None:
        assert response.content.decode() == text
        assert response["Content-Disposition"] == 'attachment; filename="my-unique-set.txt"'
        assert response["X-Content-Type-Options"] == "nosniff"
    ExportTally.objects.all().delete()  # as if a minute had passed since that entry
    jsonl = client.post(reverse("prompt_set_jsonl", args=[made.pk]))
    assert jsonl["Content-Type"] == "application/jsonl; charset=utf-8"
    assert jsonl.content.decode().count("\n") == len(inputs)
    texts = [sentences.sentence(entry) for entry in AuditEntry.objects.filter(action="prompt_set.exported")]
    sentence = f"Vera Viewer exported the prompt set My ünique “set” as %s (inputs: {len(inputs)})"
    assert texts == [sentence % kind for kind in ("jsonl", "txt") if kind == "jsonl" or text is not None]
    assert client.get(reverse("prompt_set_jsonl", args=[made.pk])).status_code == 405


def test_archive_and_restore(foxes, client):
    page = client.post(reverse("prompt_set_archive", args=[foxes.pk]), follow=True)
    assert "Foxes is archived. Restore it here to undo." in text_of(page)
    assert "Restore the set" in text_of(page)
    edited = client.get(reverse("prompt_set_edit", args=[foxes.pk]), follow=True)
    assert "Restore it first" in text_of(edited)
    again = client.post(reverse("prompt_set_archive", args=[foxes.pk]), follow=True)
    assert "already archived" in text_of(again)
    assert "is restored" in text_of(client.post(reverse("prompt_set_restore", args=[foxes.pk]), follow=True))


def test_the_audit_entry_links_to_the_set(foxes, client):
    entry = AuditEntry.objects.get(action="prompt_set.created")
    page = client.get(reverse("audit_entry", args=[entry.seq])).content.decode()
    assert reverse("prompt_set", args=[foxes.pk]) in page
    assert foxes.inputs_sha256 in page
