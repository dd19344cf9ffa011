"""Prompt sets: creating, changing and archiving them, what is refused, and the starter set of the first start."""

import hashlib

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from promptops.compare.actions import prompt_sets
from promptops.compare.models import PromptSet
from promptops.compare.queries import prompt_sets as queries
from promptops.ledger import sentences
from promptops.ledger.audit import SYSTEM
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import AuditEntry
from promptops.runs.actions import erasing
from promptops.runs.models import Run

pytestmark = pytest.mark.django_db


@pytest.fixture
def foxes(actor) -> PromptSet:
    return prompt_sets.create_set("Foxes", ["a fox", "two foxes"], by=actor, description="Red ones")


def last_audit_sentence() -> str:
    return sentences.sentence(AuditEntry.objects.get(seq=AuditEntry.objects.count()))


def test_a_set_holds_distinct_inputs_in_order(actor):
    made = prompt_sets.create_set("  My   foxes ", ["b\r\nc", "a", " a ", "b\nc"], by=actor)
    saved = PromptSet.objects.get(pk=made.pk)
    assert (saved.name, saved.inputs, saved.input_count) == ("My foxes", ["b\nc", "a"], 2)
    assert saved.inputs_sha256 == hashlib.sha256(b'["b\\nc","a"]').hexdigest()
    assert (saved.created_by, saved.created_by_name) == (actor.user, actor.name)


def test_the_audit_has_counts_and_hashes_but_no_texts(foxes, actor):
    assert last_audit_sentence() == "Ada Administrator created the prompt set Foxes (inputs: 2)"
    changed = prompt_sets.change_set(
        foxes, name="Foxes", description="Red ones", inputs=["a secret fox"], by=actor, expected=1
    )
    assert last_audit_sentence() == "Ada Administrator changed the prompt set Foxes (inputs: 2, now 1)"
    entry = AuditEntry.objects.get(action="prompt_set.changed")
    assert entry.before["inputs_sha256"] == foxes.inputs_sha256
    assert entry.after["inputs_sha256"] == changed.inputs_sha256
    assert "secret" not in str([entry.before, entry.after])
    prompt_sets.archive(changed, by=actor)
    assert last_audit_sentence() == "Ada Administrator archived the prompt set Foxes"
    prompt_sets.restore(changed, by=actor)
    assert last_audit_sentence() == "Ada Administrator restored the prompt set Foxes from the archive"


@pytest.mark.parametrize(
    ("name", "inputs", "reason"),
    [
        ("Foxes", ["a"], "A prompt set of that name exists"),
        ("", ["a"], "blank"),
        ("x" * 81, ["a"], "at most 80"),
        ("New", [], "There are no inputs yet"),
        ("New", ["a", "b\0"], "Input 2: The input holds a NUL"),
        ("New", ["x" * 16_001], "Input 1: The input is 16,001 characters"),
    ],
)
def test_a_refused_set_changes_nothing(name, inputs, reason, foxes, actor):
    entries = AuditEntry.objects.count()
    with pytest.raises(ValidationError, match=reason):
        prompt_sets.create_set(name, inputs, by=actor)
    other = prompt_sets.create_set("Other", ["a"], by=actor)
    with pytest.raises(ValidationError, match=reason):
        prompt_sets.change_set(other, name=name, description="", inputs=inputs, by=actor, expected=1)
    other.refresh_from_db()
    assert (other.name, other.inputs, other.edition) == ("Other", ["a"], 1)
    assert AuditEntry.objects.count() == entries + 1


def test_of_two_people_who_change_a_set_the_second_is_refused(foxes, actor):
    fields = {"name": "Foxes", "description": "", "by": actor, "expected": 1}
    prompt_sets.change_set(foxes, inputs=["first"], **fields)
    with pytest.raises(Stale, match="Someone changed Foxes while you were editing"):
        prompt_sets.change_set(foxes, inputs=["second"], **fields)
    assert PromptSet.objects.get().inputs == ["first"]


def test_of_two_people_who_take_a_name_at_the_same_moment_the_second_is_refused(foxes, actor, monkeypatch):
    # full_clean runs before the other row exists, so that only the database notices the duplicate.
    monkeypatch.setattr(PromptSet, "full_clean", lambda *args, **kwargs: None)
    with pytest.raises(ValidationError, match="A prompt set of that name exists"):
        prompt_sets.create_set("Foxes", ["a"], by=actor)


def test_a_change_that_changes_nothing_is_refused(foxes, actor):
    with pytest.raises(Refused, match="no changes to save"):
        prompt_sets.change_set(
            foxes, name="Foxes", description="Red ones", inputs=["a fox", "two foxes"], by=actor, expected=1
        )
    assert PromptSet.objects.get().edition == 1


def test_archiving_and_restoring(foxes, actor):
    prompt_sets.archive(foxes, by=actor)
    assert (list(queries.listed()), list(queries.listed(archived=True))) == ([], [foxes])
    with pytest.raises(Refused, match="already archived"):
        prompt_sets.archive(foxes, by=actor)
    with pytest.raises(Refused, match="Restore it first"):
        prompt_sets.change_set(foxes, name="F", description="", inputs=["a"], by=actor, expected=2)
    prompt_sets.restore(foxes, by=actor)
    assert list(queries.listed()) == [foxes]
    with pytest.raises(Refused, match="is not archived"):
        prompt_sets.restore(foxes, by=actor)


def test_the_starter_set_is_imported_once(settings, actor):
    assert prompt_sets.import_starter_set(settings.PROMPTS_DIR, by=SYSTEM) == []
    starter = PromptSet.objects.get()
    assert (starter.name, starter.input_count, starter.created_by_name) == ("Starter set", 60, "PromptOps")
    prompt_sets.archive(starter, by=actor)
    assert prompt_sets.import_starter_set(settings.PROMPTS_DIR, by=SYSTEM) == []
    assert PromptSet.objects.count() == 1


@pytest.mark.parametrize(
    ("data", "problem"),
    [(None, "No such file"), (b"\xff", "Line 1: byte 1 of the line is not UTF-8"), (b"\n", "There are no inputs yet")],
)
def test_an_unreadable_starter_set_is_reported(data, problem, tmp_path):
    if data is not None:
        (tmp_path / "sets").mkdir()
        (tmp_path / "sets" / "starter_set.txt").write_bytes(data)
    (sentence,) = prompt_sets.import_starter_set(tmp_path, by=SYSTEM)
    assert sentence.startswith(f"sets/starter_set.txt was not imported: {problem}")
    assert not PromptSet.objects.exists()


def run(text: str, operation: str = "enhance", **fields) -> Run:
    required = {"source": "preview", "temperature": 0.7, "max_tokens": 9, "revision": 1, "latency_ms": 1.0}
    return Run.objects.create(operation=operation, input=text, status="failed", **required, **fields)


def test_inputs_of_past_runs_are_the_newest_distinct_ones(actor, django_assert_num_queries):
    for text in ("first", "second", "first", "third "):
        run(text)
    run("other", operation="rewrite")
    run("drilled", drill="503 in on")
    erasing.erase(run("erased"), by=actor)
    run("", erased_at=timezone.now())
    with django_assert_num_queries(1):
        assert queries.past_inputs("enhance", 100) == ["third", "first", "second"]
    assert queries.past_inputs("enhance", 2) == ["third", "first"]
    assert queries.past_inputs("auto_extend", 2) == []


def test_past_inputs_fit_into_a_form(monkeypatch):
    monkeypatch.setattr(queries, "BOX_CHARACTERS", 100)
    for number in range(5):
        run(f"{number}" * 30)
    assert queries.past_inputs("enhance", 100) == ["4" * 30, "3" * 30]


@pytest.mark.parametrize(
    ("number", "search", "places", "matches", "shown", "pages"),
    [
        (1, "", range(1, 51), 120, 1, 3),
        (3, "", range(101, 121), 120, 3, 3),
        (99, "", range(101, 121), 120, 3, 3),
        (1, "FOX 12", [12, 120], 2, 1, 1),
        (1, "bear", [], 0, 1, 1),
    ],
)
def test_the_window(number, search, places, matches, shown, pages, actor):
    many = prompt_sets.create_set("Many", [f"fox {place}" for place in range(1, 121)], by=actor)
    window = queries.window(many, number=number, search=search)
    assert [place for place, _ in window.rows] == list(places)
    assert (window.matches, window.number, window.pages) == (matches, shown, pages)
