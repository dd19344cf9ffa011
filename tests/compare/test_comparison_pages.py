"""The pages of comparisons over HTTP."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from promptops.compare.actions import prompt_sets
from promptops.compare.models import Comparison, PromptSet, Trial
from promptops.compare.queries import comparisons as queries
from promptops.ledger.models import AuditEntry
from promptops.prompts.actions.drafts import save_draft
from promptops.prompts.actions.releases import Content
from promptops.prompts.models import Template, Version
from promptops.providers.actions.chain import ProviderFields, create_provider
from promptops.providers.models import Provider
from promptops.runs.models import Attempt, Run
from tests.factories import make_provider

pytestmark = pytest.mark.django_db


@pytest.fixture
def prepared(publish, actor):
    """Two versions, two providers (one with prices), a prompt set."""
    publish("enhance", "One.", note="first")
    publish("enhance", "Two.", note="second")
    create_provider(ProviderFields("p1", "openai", "m1", "http://127.0.0.1:1/v1"), by=actor)
    create_provider(
        ProviderFields("p2", "openai", "m2", "http://127.0.0.1:2/v1", price_input=1.0, price_output=2.0), by=actor
    )
    prompt_sets.create_set("Foxes", ["a fox", "two <b>foxes</b>"], by=actor)


def form(**more) -> dict[str, object]:
    template = Version.objects.first().template_id
    p1, p2 = Provider.objects.order_by("name").values_list("pk", flat=True)
    return {
        "operation": "enhance",
        "name": "Old or new",
        "note": "Is new better?",
        "prompt_set": PromptSet.objects.get(name="Foxes").pk,
        "repeats": 1,
        "a-text": f"{template}:1",
        "a-provider": p2,
        "b-text": f"{template}:2",
        "b-provider": p2,
        "c-text": "",
        "c-provider": p1,
        "d-text": "",
        "d-provider": p1,
    } | more


@pytest.fixture
def started(prepared, client_for, editor) -> Comparison:
    answer = client_for(editor).post("/compare/new/", form())
    assert answer.status_code == 302
    return Comparison.objects.get()


def answer(trial: Trial, output: str = "", error: str = "") -> None:
    """End the trial as if it had run."""
    run = Run.objects.create(
        source="comparison",
        operation="enhance",
        temperature=0.7,
        max_tokens=256,
        revision=1,
        input=trial.input.text,
        output=output,
        status="failed" if error else "succeeded",
        error=error,
        latency_ms=812,
    )
    Attempt.objects.create(
        run=run, position=1, provider="p2", outcome=run.status, started_ms=0, latency_ms=812, output_tokens=7
    )
    Trial.objects.filter(pk=trial.pk).update(
        state=run.status, run=run, finished_at=timezone.now(), answer_hash=run.answer_hash
    )


def test_starting_a_comparison_copies_the_choices_and_is_audited(started, editor):
    assert [str(arm) for arm in started.arms.all()] == ["A: enhance v1 on p2", "B: enhance v2 on p2"]
    assert started.trials.count() == 4
    entry = AuditEntry.objects.get(action="comparison.started")
    assert (entry.actor, entry.after["inputs"], entry.note) == (editor, 2, "Is new better?")


def test_the_page_of_a_run_links_to_its_comparison(started, client_for, viewer):
    answer(started.trials.first(), output="A fox.")
    page = client_for(viewer).get(f"/runs/{Run.objects.get().pk}/").content.decode()
    assert f'href="/compare/{started.pk}/"' in page
    assert "Old or new" in page


def test_the_form_offers_sets_versions_and_the_own_draft(prepared, client_for, editor, releaser):
    template = Version.objects.first().template
    save_draft(template, Content("Mine."), user=editor, base=template.live_version_id)
    page = client_for(editor).get("/compare/new/").content.decode()
    for text in ("Foxes (2)", "enhance v2 (live): second", "enhance v1: first", "enhance: your draft", "p1", "p2"):
        assert text in page
    assert "your draft" not in client_for(releaser).get("/compare/new/").content.decode()


def test_without_a_provider_the_form_says_where_to_add_one(editor, client_for):
    page = client_for(editor).get("/compare/new/").content.decode()
    assert "There is no provider yet" in page
    make_provider()
    assert "There is no provider yet" not in client_for(editor).get("/compare/new/").content.decode()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": ""}, "This field is required"),
        ({"b-text": ""}, "This field is required"),
        ({"b-text": "1:99"}, "Select a valid choice"),
        ({"b-provider": "999999"}, "Select a valid choice"),
        ({"prompt_set": "999999"}, "Select a valid choice"),
        ({"repeats": "6"}, "less than or equal to 5"),
        ({"repeats": "x"}, "Enter a whole number"),
        ({"a-temperature": "9"}, "less than or equal to 2"),
    ],
)
def test_a_refused_form_says_why_and_keeps_the_entries(prepared, client_for, editor, change, sentence):
    answer = client_for(editor).post("/compare/new/", form(**change))
    assert answer.status_code == 422
    page = answer.content.decode()
    assert sentence in page
    assert "Is new better?" in page
    assert not Comparison.objects.exists()


def test_the_estimate_counts_trials_and_cost(prepared, client_for, editor):
    browser = client_for(editor)
    estimated = browser.post(
        "/compare/new/", form(estimate="1", name="", **{"a-max_tokens": "100", "b-max_tokens": "100"})
    )
    page = estimated.content.decode()
    assert "<b>4</b> trials" in page
    # 2 arms, 2 inputs: (2 + 4 tokens of input, 2 x 1 of the text) at $1, half of 100 tokens at $2, per million.
    assert "$0.00042" in page
    without_prices = form(estimate="1", **{"a-provider": Provider.objects.get(name="p1").pk})
    assert "cost unknown" in browser.post("/compare/new/", without_prices).content.decode()
    nothing = form(estimate="1", name="", **{"a-text": "", "b-text": ""})
    assert "Choose at least two arms" in browser.post("/compare/new/", nothing).content.decode()
    assert not Comparison.objects.exists()


def test_progress_and_answers(started, client_for, viewer):
    first, second, third, _ = started.trials.order_by("pk")
    answer(first, output="A <i>red</i> fox.")
    answer(second, error="p2 answered 503: no")
    browser = client_for(viewer)
    page = browser.get(f"/compare/{started.pk}/").content.decode()
    assert "<b>2</b> of 4 trials" in page
    assert "1 failed" in page
    assert "p2 answered 503: no" in page
    assert "Pause" not in page  # a viewer may only read
    answers = browser.get(f"/compare/{started.pk}/").content.decode()
    for text in ("A &lt;i&gt;red&lt;/i&gt; fox.", "two &lt;b&gt;foxes&lt;/b&gt;", "812 ms", "7 tokens out", "waiting"):
        assert text in answers
    assert "two &lt;b&gt;" not in browser.get(f"/compare/{started.pk}/?show=failed").content.decode()
    matching = browser.get(f"/compare/{started.pk}/?q=TWO").content.decode()
    assert "two &lt;b&gt;" in matching
    assert "&lt;i&gt;red" not in matching
    assert "No input matches" in browser.get(f"/compare/{started.pk}/?q=%00owl").content.decode()
    assert "2 of 4" in browser.get("/compare/").content.decode()
    assert third.state == "waiting"


def test_pause_resume_cancel(started, client_for, editor):
    browser = client_for(editor)
    for step, state in (("pause", "paused"), ("resume", "running"), ("cancel", "canceled")):
        browser.post(f"/compare/{started.pk}/step/", {"step": step})
        started.refresh_from_db()
        assert started.state == state
    page = browser.post(f"/compare/{started.pk}/step/", {"step": "resume"}, follow=True).content.decode()
    assert "Nothing was changed" in page
    assert "out of date" in browser.post(f"/compare/{started.pk}/step/", {"step": "x"}, follow=True).content.decode()
    assert "not run" in browser.get(f"/compare/{started.pk}/").content.decode()


def test_the_number_of_queries_does_not_grow(prepared, client_for, editor, actor):
    prompt_sets.create_set("Many", [f"fox {number}" for number in range(60)], by=actor)
    browser = client_for(editor)
    counts = []
    for name in ("Foxes", "Many"):
        browser.post("/compare/new/", form(prompt_set=PromptSet.objects.get(name=name).pk))
        pk = Comparison.objects.first().pk
        for path in (f"/compare/{pk}/", "/compare/"):
            browser.get(path)
            with CaptureQueriesContext(connection) as queries:
                browser.get(path)
            counts.append(len(queries))
    assert counts[:2] == counts[2:]


def test_each_of_many_templates_offers_its_live_version_and_its_newest_ones(prepared, publish, editor, monkeypatch):
    monkeypatch.setattr(queries, "TEXTS_OFFERED", 5)
    for text in ("Three.", "Four.", "Five."):
        publish("enhance", text)
    publish("noir", "Dark.", operation="enhance")
    publish("noir", "Darker.", operation="enhance")
    enhance = Version.objects.get(body="One.").template
    Template.objects.filter(pk=enhance.pk).update(live_version=Version.objects.get(body="Two."))
    groups = dict(queries.text_choices("enhance", editor)[1:])
    assert list(groups) == ["enhance", "noir"]  # the default first
    assert [value.split(":")[1] for value, _ in groups["enhance"]] == ["5", "4", "2"]
    assert "(live)" in groups["enhance"][2][1]
    assert [value.split(":")[1] for value, _ in groups["noir"]] == ["2", "1"]


def test_only_arm_a_carries_the_texts_and_the_others_keep_what_was_chosen(prepared, client_for, editor):
    client = client_for(editor)
    page = client.get("/compare/new/").content.decode()
    template = Version.objects.first().template_id
    assert page.count(f'<option value="{template}:1"') == 2  # of A, and chosen for B
    assert page.count(f'<option value="{template}:2"') == 1
    assert page.count('data-options-from="#id_a-text"') == 3
    refused = client.post("/compare/new/", form(**{"name": "", "c-text": f"{template}:2"})).content.decode()
    assert re.search(rf'<select name="c-text".*?<option value="{template}:2" selected>', refused, re.S)
