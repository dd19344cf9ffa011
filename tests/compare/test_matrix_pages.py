"""The matrix of answers, the pair, applying the result, the report, exports and repeating, over HTTP."""

import csv
import io
import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from promptops.compare.actions import comparisons, prompt_sets
from promptops.compare.actions.comparisons import ArmChoice
from promptops.compare.models import Comparison, PromptSet, Trial, Vote
from promptops.compare.queries import matrix as queries
from promptops.engine.types import PromptOperation
from promptops.ledger import chain as audit_chain
from promptops.ledger.models import AuditEntry, ExportTally, Release
from promptops.live.snapshots import load
from promptops.prompts.actions.releases import Content
from promptops.prompts.models import Template
from promptops.providers.actions.chain import ProviderFields, create_provider, reorder, set_enabled
from promptops.providers.models import Provider
from promptops.runs.models import Run, SafetyCheck
from tests.compare.test_comparison_pages import answer
from tests.comparing import answer as answer_all
from tests.comparing import compare

pytestmark = pytest.mark.django_db


@pytest.fixture
def compared(publish, actor) -> Comparison:
    """Three inputs on three arms: v1 on p1, v2 (live) on p2, a draft on p2."""
    first, second = publish("enhance", "One."), publish("enhance", "Two.")
    p1 = create_provider(ProviderFields("p1", "openai", "m1", "http://127.0.0.1:1/v1"), by=actor)
    p2 = create_provider(ProviderFields("p2", "openai", "m2", "http://127.0.0.1:2/v1"), by=actor)
    prompt_sets.create_set("Foxes", ["a fox", "=two hens", "an owl"], by=actor)
    arms = [
        ArmChoice(first.template, first, Content(**first.content), p1),
        ArmChoice(first.template, second, Content(**second.content), p2),
        ArmChoice(first.template, None, Content("Three.", 0.2, 99), p2),
    ]
    details = {"by": actor, "snapshot": load(), "inputs_from": "Foxes", "note": "Is new better?"}
    inputs = PromptSet.objects.get(name="Foxes").inputs
    return comparisons.start("Old or new", PromptOperation.ENHANCE, inputs, arms, **details)


def trial(comparison: Comparison, number: int, letter: str) -> Trial:
    return comparison.trials.get(input__position=number - 1, arm__position="ABC".index(letter))


def fill(comparison: Comparison) -> None:
    """Answer everything. Input 1: A and B differ. Input 2: all are the same. Input 3: A fails."""
    for letter in "ABC":
        answer(trial(comparison, 1, letter), output="A red fox runs." if letter == "A" else "A blue fox runs.")
        answer(trial(comparison, 2, letter), output="Two hens.")
        answer(trial(comparison, 3, letter), **({"error": "p1: 503"} if letter == "A" else {"output": "An owl."}))


def vote(comparison: Comparison, user, number: int, choice: str) -> None:
    a, b = comparison.arms.all()[:2]
    Vote.objects.create(
        comparison=comparison,
        input=comparison.inputs.get(position=number - 1),
        first=a,
        second=b,
        user=user,
        user_name=user.name,
        choice=choice,
        first_on_left=True,
    )


def shown(browser, comparison: Comparison, query: str = "") -> list[int]:
    """Return the numbers of the inputs that the matrix shows."""
    page = browser.get(f"/compare/{comparison.pk}/?{query}").content.decode()
    return [number for number in (1, 2, 3) if f'data-label="Input {number}"' in page]


def test_filters_and_search(compared, client_for, viewer, editor):
    fill(compared)
    vote(compared, viewer, 1, "first")
    vote(compared, editor, 1, "second")
    vote(compared, editor, 2, "tie")
    Run.objects.filter(trial=trial(compared, 2, "C")).update(status="blocked")
    browser = client_for(viewer)
    assert shown(browser, compared) == [1, 2, 3]
    assert shown(browser, compared, "show=different") == [1]
    assert shown(browser, compared, "show=failed") == [3]
    assert shown(browser, compared, "show=blocked") == [2]
    assert shown(browser, compared, "show=disagreeing") == [1]
    assert shown(browser, compared, "q=BLUE") == [1]
    assert shown(browser, compared, "q=owl") == [3]
    assert shown(browser, compared, "q=fox&show=failed") == []
    assert shown(browser, compared, "show=nonsense&from=99&base=Z") == [3]
    assert shown(browser, compared, "show=nonsense&from=x&base=Z") == [1, 2, 3]


@pytest.mark.parametrize(("repeats", "inputs"), [(1, 20), (3, 6)])
def test_a_press_adds_twenty_rows_at_most(actor, repeats, inputs):
    comparison = compare(actor, inputs=25, repeats=repeats)
    first = queries.matrix(comparison, queries.Filters())
    second = queries.matrix(comparison, queries.Filters(), start=first.next)
    assert [len(each.rows) for each in (first, second)] == [inputs * repeats, min(inputs, 25 - inputs) * repeats]
    assert [each.rows[0].input.position for each in (first, second)] == [0, inputs]
    assert (first.previous, second.previous) == (None, 1)


def test_the_page_has_six_rows_and_a_press_adds_the_next(actor, client_for, viewer):
    comparison = compare(actor, inputs=25)
    page = client_for(viewer).get(f"/compare/{comparison.pk}/").content.decode()
    assert page.count("<tr data-row") == 6
    assert f'hx-get="/compare/{comparison.pk}/?from=7&amp;part=rows"' in page
    browser = client_for(viewer, htmx=True)
    rows = browser.get(f"/compare/{comparison.pk}/?from=7&part=rows").content.decode()
    assert rows.count("<tr data-row") == 19
    assert "Show more inputs" not in rows
    assert f'hx-get="/compare/{comparison.pk}/?pair=25&amp;a=A&amp;b=B"' in rows
    assert "<html" not in rows


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("answers/", "#answers"),
        ("answers/?show=failed&page=2", "?show=failed&from=21#answers"),
        ("answers/3/?a=A&b=C", "?a=A&b=C&pair=3#answers"),
        ("verdict/", "#verdict"),
    ],
)
def test_addresses_of_earlier_versions_lead_to_the_section(compared, client_for, viewer, old, new):
    answered = client_for(viewer).get(f"/compare/{compared.pk}/{old}")
    assert (answered.status_code, answered.url) == (302, f"/compare/{compared.pk}/{new}")


def test_two_hundred_inputs_on_four_arms_stay_a_light_page(actor, client_for, viewer):
    comparison = compare(actor, arms=4, inputs=200)
    answer_all(comparison, lambda trial: f"{trial.arm.letter}: " + "a red fox in the snow, " * 25)  # about 130 words
    page = client_for(viewer).get(f"/compare/{comparison.pk}/")
    assert len(page.content) < 60_000


def test_words_that_the_base_arm_does_not_have_are_marked(compared, client_for, viewer):
    fill(compared)
    browser = client_for(viewer)
    page = browser.get(f"/compare/{compared.pk}/").content.decode()
    assert "A <ins>blue</ins> fox runs." in page
    assert "A red fox runs." in page
    other = browser.get(f"/compare/{compared.pk}/?base=B").content.decode()
    assert "A <ins>red</ins> fox runs." in other
    assert "<ins>blue" not in other
    assert "<ins>red" not in browser.get(f"/compare/{compared.pk}/?base=none").content.decode()


def test_an_open_page_gets_only_cells_that_no_longer_wait(compared, client_for, viewer):
    browser = client_for(viewer)
    url = f"/compare/{compared.pk}/"
    a, b = trial(compared, 1, "A"), trial(compared, 1, "B")
    both = {"open": [a.pk, b.pk], "news": "rows"}
    assert browser.get(url, both).status_code == 204
    answer(b, output="A blue fox.")  # the base arm has no answer yet
    assert browser.get(url, both).status_code == 204
    answer(a, output="A red fox.")
    page = browser.get(url, both).content.decode()
    assert f'id="cell-{a.pk}"' in page
    assert "A <ins>blue</ins> fox." in page
    assert "new answers" in browser.get(url, both | {"news": "count"}).content.decode()
    assert browser.get(url, {"open": ["x", str(10**30)], "news": "rows"}).status_code == 204


def test_a_pair(compared, client_for, viewer):
    fill(compared)
    vote(compared, viewer, 1, "second")
    browser = client_for(viewer)
    page = browser.get(f"/compare/{compared.pk}/?pair=1&a=A&b=C").content.decode()
    for text in ("A red fox runs.", "A blue fox runs.", "<del>", "temperature <b>0.2</b>", 'data-key="j|]|ArrowRight"'):
        assert text in page
    assert "for B <b>1</b>" in browser.get(f"/compare/{compared.pk}/?pair=1&a=B&b=A").content.decode()
    # Previous and next stay within the filter.
    filtered = browser.get(f"/compare/{compared.pk}/?pair=1&show=different").content.decode()
    assert "1 of 1" in filtered
    assert "ArrowRight" not in filtered
    for missing in ("9", "1&a=A&b=A", "1&a=D", "1&repeat=3", "0"):
        assert browser.get(f"/compare/{compared.pk}/?pair={missing}").status_code == 404


def test_a_version_is_made_live_with_the_comparison_as_reason(compared, client_for, releaser, viewer):
    fill(compared)
    vote(compared, viewer, 1, "first")
    browser = client_for(releaser)
    arm = compared.arms.get(position=0)
    url = f"/compare/{compared.pk}/arms/{arm.pk}/publish/"
    figure = "1 of 1 vote, 100% (21 to 100)"
    for address in (url, url.replace("publish", "first")):
        panel = browser.post(address).content.decode()
        assert "2 ballots left" in panel  # the answers and the verdict warn, too
        assert figure not in panel
    browser.post(f"/compare/{compared.pk}/seen/")
    panel = browser.post(url).content.decode()
    assert "Reason: this comparison" in panel
    assert figure in panel
    assert Release.objects.filter(comparison=compared).count() == 0
    expected = Template.objects.get().live_version_id
    browser.post(url, {"confirm": "1", "expected": expected, "note": "It won"})
    release = Release.objects.get(comparison=compared)
    assert (release.version.number, release.note) == (1, "It won")
    assert release.evidence["arm"] == "A"
    assert release.evidence["line"].startswith("Arm A. No winner yet: A ")
    entry = AuditEntry.objects.get(revision=release.revision)
    assert entry.after["comparison"] == compared.pk
    assert audit_chain.first_bad_entry() is None
    # Later votes do not change the evidence.
    vote(compared, releaser, 1, "first")
    link = f'href="/compare/{compared.pk}/"'
    for page in (f"/revisions/{release.revision}/", f"/audit/{entry.seq}/", "/timeline/", "/prompts/enhance/v1/"):
        assert link in browser.get(page).content.decode(), page
    assert figure in browser.get(f"/revisions/{release.revision}/").content.decode()
    assert "already live" in browser.post(url, {"confirm": "1", "expected": arm.version_id}).content.decode()
    assert "already live" in browser.get(f"/compare/{compared.pk}/").content.decode()


def test_a_draft_becomes_the_next_version_unless_another_version_was_published_first(
    compared, client_for, releaser, publish
):
    arm = compared.arms.get(position=2)
    url = f"/compare/{compared.pk}/arms/{arm.pk}/publish/"
    live_id = Template.objects.get().live_version_id
    publish("enhance", "Somebody else's.")
    refused = client_for(releaser).post(url, {"confirm": "1", "expected": live_id})
    assert refused.status_code == 409
    assert Template.objects.get().live_version.body == "Somebody else's."
    client_for(releaser).post(url, {"confirm": "1", "expected": Template.objects.get().live_version_id})
    version = Template.objects.get().live_version
    assert (version.number, version.body, version.temperature, version.max_tokens) == (4, "Three.", 0.2, 99)
    assert Release.objects.get(comparison=compared).version == version


def test_a_provider_is_put_first_with_the_comparison_as_reason(compared, client_for, releaser, actor):
    p1, p2 = Provider.objects.order_by("name")
    arm = compared.arms.get(position=1)
    url = f"/compare/{compared.pk}/arms/{arm.pk}/first/"
    browser = client_for(releaser)
    assert "p2 → p1" in browser.post(url).content.decode()
    browser.post(url, {"confirm": "1", "expected": f"{p1.pk},{p2.pk}"})
    assert [provider.name for provider in Provider.objects.all()] == ["p2", "p1"]
    assert Release.objects.get(comparison=compared).action == "provider.reordered"
    assert "already first in the chain" in browser.post(url).content.decode()
    reorder([p1.pk, p2.pk], by=actor, expected=[p2.pk, p1.pk])
    stale = browser.post(url, {"confirm": "1", "expected": f"{p2.pk},{p1.pk}"})
    assert "Someone changed the providers" in stale.content.decode()
    set_enabled(Provider.objects.get(pk=p2.pk), False, by=actor)
    assert "is off" in browser.post(url).content.decode()
    Provider.objects.filter(pk=p2.pk).update(model="another", enabled=True)
    assert "was changed: its kind, address or model" in browser.post(url).content.decode()
    Provider.objects.filter(pk=p2.pk).delete()
    assert "p2 was removed" in browser.post(url, {"confirm": "1", "expected": str(p1.pk)}).content.decode()


def test_only_releasers_are_offered_releases(compared, client_for, editor, releaser):
    Comparison.objects.update(state="canceled")
    assert "Apply the result" not in client_for(editor).get(f"/compare/{compared.pk}/").content.decode()
    assert "Apply the result" in client_for(releaser).get(f"/compare/{compared.pk}/").content.decode()


def exported(browser, comparison: Comparison, what: str, format: str) -> str:
    response = browser.post(f"/compare/{comparison.pk}/export/", {"what": what, "format": format})
    return b"".join(response).decode()


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous")
def test_exports(compared, client_for, viewer):
    fill(compared)
    vote(compared, viewer, 1, "neither")
    erased = trial(compared, 1, "B").run
    Run.objects.filter(pk=erased.pk).update(input="", output="", error="", erased_at=timezone.now())
    browser = client_for(viewer)
    rows = [json.loads(line) for line in exported(browser, compared, "trials", "jsonl").splitlines()]
    assert len(rows) == 9
    assert (
        rows[0] | {"arm": "A", "version": 1, "provider": "p1", "output": "A red fox runs.", "input": "a fox"} == rows[0]
    )
    assert [(row["arm"], row["input"], row["output"]) for row in rows if row["erased"]] == [("B", "", "")]
    table = list(csv.DictReader(io.StringIO(exported(browser, compared, "trials", "csv"))))
    assert table[3]["input"] == "'=two hens"
    assert table[6]["error"] == "p1: 503"
    votes = list(csv.DictReader(io.StringIO(exported(browser, compared, "votes", "csv"))))
    assert [(row["first"], row["second"], row["choice"]) for row in votes] == [("A", "B", "neither")]
    arms = [json.loads(line) for line in exported(browser, compared, "arms", "jsonl").splitlines()]
    assert [arm["text"] for arm in arms] == ["One.", "Two.", "Three."]
    entries = AuditEntry.objects.filter(action="comparison.exported")
    assert [entry.after["what"] for entry in entries] == [
        "trials"
    ]  # at most one entry a minute; the next one counts the others
    assert ExportTally.objects.get().count == 3
    assert browser.post(f"/compare/{compared.pk}/export/", {"what": "x", "format": "csv"}).status_code == 302
    assert ExportTally.objects.get().count == 3


def test_the_report(compared, client_for, viewer):
    browser = client_for(viewer)
    assert "No votes yet" in browser.get(f"/compare/{compared.pk}/report/").content.decode()
    fill(compared)
    vote(compared, viewer, 1, "second")
    page = browser.get(f"/compare/{compared.pk}/report/").content.decode()
    for text in ("Is new better?", "Three.", "No winner yet", "A blue fox runs.", "An owl.", "812 ms"):
        assert text in page
    some = browser.get(f"/compare/{compared.pk}/report/?inputs=3,x,99").content.decode()
    assert "An owl." in some
    assert "A blue fox runs." not in some


def test_repeating_it(compared, client_for, editor, actor):
    browser = client_for(editor)
    page = browser.get(f"/compare/new/?repeat={compared.pk}").content.decode()
    assert "Foxes (copy of the 3 inputs)" in page
    assert "Old or new, again" in page
    assert "was removed" not in page
    arms = list(compared.arms.all())
    fields = {"repeat": compared.pk, "name": "Again", "note": "", "prompt_set": "", "repeats": 1}
    for letter, arm in zip("abc", arms, strict=True):
        fields |= {f"{letter}-text": f"arm:{arm.pk}", f"{letter}-provider": arm.provider_id}
        fields |= {f"{letter}-temperature": arm.temperature, f"{letter}-max_tokens": arm.max_tokens}
    fields |= {"d-text": "", "d-provider": arms[0].provider_id}
    foxes = PromptSet.objects.get(name="Foxes")
    larger = prompt_sets.create_set("Many", [f"a fox, scene {number}" for number in range(9)], by=actor)
    prefilled = browser.get(f"/compare/new/?repeat={compared.pk}&set={larger.pk}&limit=5").content.decode()
    assert f'<option value="{larger.pk}" selected>' in prefilled
    assert 'name="limit" value="5"' in prefilled
    assert browser.post("/compare/new/", fields | {"prompt_set": larger.pk, "limit": 5}).status_code == 302
    assert Comparison.objects.first().inputs.count() == 5
    Comparison.objects.first().delete()
    prompt_sets.archive(foxes, by=actor)
    assert "Foxes was archived" in browser.get(f"/compare/new/?repeat={compared.pk}").content.decode()
    assert browser.post("/compare/new/", fields).status_code == 302
    again = Comparison.objects.exclude(pk=compared.pk).get()
    pinned = ("body", "temperature", "max_tokens", "provider", "version", "provider_model")
    assert list(again.arms.values_list(*pinned)) == list(compared.arms.values_list(*pinned))
    assert list(again.inputs.values_list("text")) == list(compared.inputs.values_list("text"))
    assert (again.inputs_from, again.timeout_ms) == ("Foxes", compared.timeout_ms)
    Provider.objects.filter(name="p1").delete()
    without_p1 = browser.get(f"/compare/new/?repeat={compared.pk}").content.decode()
    assert "p1 was removed" in without_p1
    assert "choose one" in without_p1
    assert browser.post("/compare/new/", fields | {"a-provider": ""}).status_code == 422
    assert browser.get("/compare/new/?repeat=999").status_code == 404


def test_the_number_of_queries_does_not_grow(compared, client_for, releaser, actor):
    fill(compared)
    arms = [
        ArmChoice(arm.template, arm.version, Content(arm.body, arm.temperature, arm.max_tokens), arm.provider)
        for arm in compared.arms.all()
    ]
    details = {"by": actor, "snapshot": load(), "inputs_from": "Foxes"}
    many = comparisons.start("Many", PromptOperation.ENHANCE, [f"a fox, take {n}" for n in range(60)], arms, **details)
    fill(many)
    browser = client_for(releaser)
    for comparison in (compared, many):  # the releaser still has ballots, so pages would warn
        browser.post(f"/compare/{comparison.pk}/seen/")
    counts = []
    for comparison in (compared, many):
        for path in ("", "?from=1", "?show=different&q=fox", "?pair=2", "report/"):
            browser.get(f"/compare/{comparison.pk}/{path}")
            with CaptureQueriesContext(connection) as queries:
                browser.get(f"/compare/{comparison.pk}/{path}")
            counts.append(len(queries))
    assert counts[:5] == counts[5:]


def test_a_person_with_ballots_left_is_warned_before_arms_are_shown(compared, client_for, editor, viewer):
    fill(compared)
    pages = [f"/compare/{compared.pk}/{path}" for path in ("", "?pair=1", "report/")]
    for page in pages:
        assert "A red fox runs." not in client_for(editor).get(page).content.decode()
        assert "A red fox runs." in client_for(viewer).get(page).content.decode()


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous")
def test_a_cell_shows_the_verdicts_of_the_safety_filter(compared, client_for, viewer, django_assert_max_num_queries):
    fill(compared)
    browser = client_for(viewer)
    address = f"/compare/{compared.pk}/"
    assert "violence" not in browser.get(address).content.decode()
    checks = [
        SafetyCheck(run=each.run, side="output", decision="block", category="violence", mode="shadow")
        for each in compared.trials.exclude(run=None).select_related("run")
    ]
    with CaptureQueriesContext(connection) as before:
        browser.get(address)
    SafetyCheck.objects.bulk_create(checks)
    with django_assert_max_num_queries(len(before)):
        page = browser.get(address).content.decode()
    assert page.count("violence") == len(checks) > 1


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous")
def test_masked_texts_are_masked_on_every_page_and_in_files(compared, client_for, viewer):
    fill(compared)
    Run.objects.filter(trial=trial(compared, 1, "A")).update(output_masked=True)
    compared.inputs.filter(position=2).update(text="an owl at night")
    assert shown(client_for(viewer), compared, "q=night") == [3]
    Run.objects.filter(trial=trial(compared, 3, "A")).update(input_masked=True)
    browser = client_for(viewer)
    for page in ("", "?base=B", "?q=red", "?pair=1", "report/"):
        text = browser.get(f"/compare/{compared.pk}/{page}").content.decode()
        assert "A red fox" not in text
        assert "p1: 503" not in text
        assert "night" not in text
    assert "night" not in browser.get(f"/compare/{compared.pk}/?pair=3").content.decode()
    assert shown(browser, compared, "q=red") == shown(browser, compared, "q=night") == []
    rows = [json.loads(line) for line in exported(browser, compared, "trials", "jsonl").splitlines()]
    assert [(row["arm"], row["input"], row["output"], row["error"]) for row in rows if row["masked"]] == [
        ("A", "a fox", "", ""),
        ("A", "", "", ""),
    ]
