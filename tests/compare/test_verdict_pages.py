"""The verdict page; its figures are compared with figures that were counted by hand."""

from itertools import combinations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from promptops.compare.actions import comparisons, prompt_sets
from promptops.compare.actions.comparisons import ArmChoice
from promptops.compare.models import Comparison, Trial, Vote
from promptops.compare.queries.arm_names import named_arms
from promptops.compare.queries.measures import measured
from promptops.compare.queries.verdicts import verdicts
from promptops.engine.types import PromptOperation
from promptops.live import snapshots as live
from promptops.prompts.actions.releases import Content
from promptops.providers.actions.chain import ProviderFields, create_provider
from promptops.runs.models import Attempt, Run
from promptops.stats.preference import wilson
from tests.comparing import change_runs

pytestmark = pytest.mark.django_db


@pytest.fixture
def compare(publish, actor):
    """`compare(arms, inputs)`: start a comparison of versions on one provider, without answers."""

    def make(
        arms: int = 2, inputs: int = 3, *, operation: str = "enhance", provider: str = "groq", **more
    ) -> Comparison:
        only_provider = create_provider(ProviderFields(provider, "openai", "m", "http://127.0.0.1:1/v1"), by=actor)
        versions = [publish(operation, f"Text {number}.") for number in range(arms)]
        return comparisons.start(
            "Old or new",
            PromptOperation(operation),
            [f"fox {number}" for number in range(inputs)],
            [ArmChoice(version.template, version, Content(**version.content), only_provider) for version in versions],
            by=actor,
            snapshot=live.load(),
            inputs_from="Foxes",
            **more,
        )

    return make


def answer(trial: Trial, output: str = "", *, error: str = "", latency_ms: float = 100, cost=0.001, **fields) -> None:
    """End the trial as if it had run; by default every arm has another `output`."""
    run = Run.objects.create(
        source="comparison",
        operation=trial.comparison.operation,
        temperature=0.7,
        max_tokens=256,
        revision=1,
        input=trial.input.text,
        output="" if error else output or f"Answer of {trial.arm_id}.",
        status="failed" if error else "succeeded",
        error=error,
        latency_ms=latency_ms,
        cost=None if error else cost,
        truncated=fields.pop("truncated", False),
    )
    tokens = {} if error else {"input_tokens": 20, "output_tokens": fields.pop("tokens", 10), "finish_reason": "stop"}
    Attempt.objects.create(
        run=run, position=1, provider="groq", outcome=run.status, started_ms=0, latency_ms=latency_ms, **tokens
    )
    Trial.objects.filter(pk=trial.pk).update(
        state=run.status, run=run, finished_at=timezone.now(), answer_hash=run.answer_hash, **fields
    )


def answer_all(comparison: Comparison) -> None:
    for trial in comparison.trials.select_related("comparison", "input"):
        answer(trial)


def cast(comparison: Comparison, user, choices: str, *, pair=(0, 1), left: str = "", repeat: int = 0) -> None:
    """Vote on the inputs in order: "1" and "2" for the arms of the pair, "t"ie, "n"either, " " for no vote.

    `left` has for each input whether the first arm was on the left ("y" or "n"), by default always.
    """
    arms, inputs = list(comparison.arms.all()), list(comparison.inputs.all())
    words = {"1": "first", "2": "second", "t": "tie", "n": "neither"}
    for place, choice in enumerate(choices):
        if choice != " ":
            Vote.objects.create(
                comparison=comparison,
                input=inputs[place],
                repeat=repeat,
                first=arms[pair[0]],
                second=arms[pair[1]],
                user=user,
                user_name=user.name,
                choice=words[choice],
                first_on_left=left[place] == "y" if left else True,
            )


def figures(comparison: Comparison):
    arms = named_arms(comparison)
    return verdicts(comparison, arms), measured(comparison, arms)


def test_votes_are_counted(compare, viewer):
    comparison = compare(inputs=8)
    answer_all(comparison)
    cast(comparison, viewer, "2221tn  ", left="ynnynn")
    result, _ = figures(comparison)
    [pair] = result.pairs
    assert (pair.votes, pair.inputs, pair.decided, pair.left, pair.failed, pair.identical) == (6, 6, 4, 2, 0, 0)
    assert [rate.count for rate in (pair.first_won, pair.second_won, pair.tie, pair.neither)] == [1, 3, 1, 1]
    assert [rate.of for rate in (pair.first_won, pair.second_won, pair.tie, pair.neither)] == [6] * 4
    assert pair.tie.share.share == pytest.approx(1 / 6)
    # 3 of 4: Student's t with 3 degrees of freedom reduces each vote to (1.96 / 3.182)^2; n - 1 of 4 votes are free.
    assert pair.preference.share == 0.75
    expected = wilson(0.75, 3 * (1.959964 / 3.1824) ** 2)
    assert (pair.preference.low, pair.preference.high) == (
        pytest.approx(expected.low, abs=0.005),
        pytest.approx(expected.high, abs=0.005),
    )
    assert pair.ahead.name == "B (v2)"
    assert (pair.winner, result.ranking) == (None, [])
    # The second arm won on the right, left and left; the first arm won on the left.
    assert (result.left_side.count, result.left_side.of) == (3, 4)


@pytest.mark.parametrize(
    ("choices", "headline", "repeat"),
    [
        ("", "No votes yet", ""),
        ("1" * 10, "A (v1) is preferred: 10 of 10 votes, 100% (66 to 100)", ""),
        ("2" * 10, "B (v2) is preferred: 10 of 10 votes, 100% (66 to 100)", ""),
        ("tttnnn", "No winner yet: 6 votes, all ties or “neither”", "limit=97"),
        ("12", "No winner yet: A (v1) has 1 of 2 votes, 50% (0 to 100)", "limit=97"),
        ("1" * 33 + "2" * 27, "No winner yet: A (v1) has 33 of 60 votes, 55% (42 to 67)", "limit=400"),
        ("2" * 33 + "1" * 27, "No winner yet: B (v2) has 33 of 60 votes, 55% (42 to 67)", "limit=400"),
        # Half of the inputs are ties, so twice as many are needed.
        ("1" * 33 + "2" * 27 + "t" * 60, "No winner yet: A (v1) has 33 of 60 votes, 55% (42 to 67)", "limit=790"),
        ("12" * 30, "No difference: A (v1) has 30 of 60 votes, 50% (38 to 62)", ""),
        ("1" * 40 + "2" * 24, "A (v1) is preferred: 40 of 64 votes, 62% (just over 50 to 73)", ""),
    ],
)
def test_the_verdict_in_words_and_the_repeat_that_would_decide(
    compare, viewer, editor, client_for, actor, choices, headline, repeat
):
    prompt_sets.create_set("Few", ["a fox"], by=actor)
    enough = prompt_sets.create_set("Enough", [f"a fox, take {number}" for number in range(800)], by=actor)
    comparison = compare(inputs=max(3, len(choices)))
    answer_all(comparison)
    cast(comparison, viewer, choices)
    [pair] = figures(comparison)[0].pairs
    assert pair.headline == headline
    browser = client_for(editor)
    browser.post(f"/compare/{comparison.pk}/seen/")
    page = browser.get(f"/compare/{comparison.pk}/").content.decode()
    assert headline in page
    assert ("These votes cannot decide" in page) is bool(repeat)
    if repeat:
        assert f'href="/compare/new/?repeat={comparison.pk}&amp;set={enough.pk}&amp;{repeat}"' in page


def test_the_input_is_the_unit(compare, viewer, editor, releaser):
    comparison = compare(inputs=12, repeats=2)
    answer_all(comparison)
    cast(comparison, viewer, "111111112222")
    once = figures(comparison)[0].pairs[0]
    for voter in (editor, releaser):
        cast(comparison, voter, "111111112222")
    cast(comparison, viewer, "111111112222", repeat=1)
    again = figures(comparison)[0].pairs[0]
    assert (once.votes, again.votes, once.inputs, again.inputs) == (12, 48, 12, 12)
    assert again.preference == once.preference
    assert again.first_won.share == once.first_won.share


def test_failures_and_identical_answers_are_counted_separately(compare, viewer):
    comparison = compare(arms=3, inputs=4)
    trials = list(comparison.trials.select_related("comparison", "input").order_by("input", "arm"))
    for place, trial in enumerate(trials):
        # Input 0: A failed. Input 1: A and B the same. Input 2: all different. Input 3: nothing yet.
        if place < 9:
            answer(trial, "The same." if place in (3, 4) else "", error="503" if place == 0 else "")
    result, measures = figures(comparison)
    counts = {
        (pair.first.arm.letter + pair.second.arm.letter): (pair.failed, pair.identical, pair.left)
        for pair in result.pairs
    }
    assert counts == {"AB": (1, 1, 1), "AC": (1, 0, 2), "BC": (0, 0, 3)}
    assert [(row.answered, row.failed.count, row.failed.of, row.open) for row in measures.arms] == [
        (2, 1, 3, 1),
        (3, 0, 3, 1),
        (3, 0, 3, 1),
    ]
    assert result.to_vote == 3
    cast(comparison, viewer, "  1")
    pair = figures(comparison)[0].pairs[0]
    assert (pair.first_won.count, pair.votes, pair.left) == (1, 1, 0)


def test_erased_answers_are_not_identical(compare):
    comparison = compare(inputs=1)
    for trial in comparison.trials.select_related("comparison", "input"):
        answer(trial, "The same.")
    assert figures(comparison)[0].pairs[0].identical == 1
    change_runs(Run.objects.all(), output="", erased_at=timezone.now())
    assert figures(comparison)[0].pairs[0].identical == 0


def test_agreement_and_voters(compare, viewer, editor):
    comparison = compare(inputs=6)
    answer_all(comparison)
    cast(comparison, viewer, "1122tn", left="yyyyyy")
    cast(comparison, editor, "1121 t", left="nnnnnn")
    result, _ = figures(comparison)
    assert (result.agreement.shared, result.agreement.agreed, result.agreement.percent) == (5, 3, 60)
    # Krippendorff by hand. Coincidences: 11: 4, 22: 2, 12 and 21: 1 each, nt and tn: 1 each. Values: 1: 5, 2: 3, t: 1,
    # n: 1; ten in total. Observed disagreement 4; expected (100 - 25 - 9 - 1 - 1) / 9.
    assert result.agreement.alpha == pytest.approx(1 - 4 / (64 / 9))
    counts = [(voter.name, voter.votes, voter.ties, voter.neither, voter.left.count) for voter in result.voters]
    assert counts == [("Vera Viewer", 6, 1, 1, 2), ("Eddie Editor", 5, 1, 0, 1)]


def test_a_leaning_to_one_side_is_shown(compare, viewer, client_for):
    comparison = compare(inputs=20)
    answer_all(comparison)
    cast(comparison, viewer, "12" * 10, left="yn" * 10)
    result, _ = figures(comparison)
    assert (result.left_side.share.share, result.leaning) == (1, "left")
    assert "lean to the left" in client_for(viewer).get(f"/compare/{comparison.pk}/").content.decode()


def test_more_than_two_arms_are_ranked(compare, viewer, client_for):
    comparison = compare(arms=4, inputs=12)
    answer_all(comparison)
    for pair in ((0, 1), (1, 2), (2, 3), (0, 3)):
        cast(comparison, viewer, "221222221222"[pair[0] :], pair=pair)
    result, _ = figures(comparison)
    assert len(result.pairs) == 6
    assert [ranked.arm.arm.letter for ranked in result.ranking] == ["D", "C", "B", "A"]
    assert sum(pair.votes for pair in result.pairs) == result.votes
    page = client_for(viewer).get(f"/compare/{comparison.pk}/").content.decode()
    assert "Bradley-Terry" in page
    assert page.count('class="interval"') == 4 + 4  # four pairs with decided votes, and four arms


def test_measures_exclude_failures(compare):
    comparison = compare(inputs=4)
    first, second = comparison.arms.all()
    trials = comparison.trials.select_related("comparison", "input")
    counted = {"characters": 50, "words": 10, "repetition": 0.0}
    for place, trial in enumerate(trials.filter(arm=first).order_by("input")):
        answer(
            trial,
            latency_ms=100 * (place + 1),
            tokens=10 * place,
            truncated=place == 1,
            subject_kept=place / 4,
            **counted,
        )
    for place, trial in enumerate(trials.filter(arm=second).order_by("input")):
        answer(trial, error="503" if place else "", latency_ms=9000, cost=None)
    _, measures = figures(comparison)
    one, other = measures.arms
    assert (one.p50, one.p95, one.p99, one.truncated) == (200, 400, 400, 1)
    assert (one.tokens_in.value, one.tokens_out.value, one.tokens_out.of) == (20, 15, 4)
    assert one.cost.value == pytest.approx(1.0)
    assert (one.words.value, one.subject.share.share, one.subject.of) == (10, 0.375, 4)
    assert one.finish_reasons == [("stop", 4)]
    assert (other.answered, other.failed.count, other.p50, other.cost.value) == (1, 3, 9000, None)
    # An answer that is older than the measures.
    assert (other.words.value, other.words.of, other.subject.of) == (None, 0, 0)
    assert [tick.value for tick in measures.ticks] == [0, 5000, 10_000]


def test_rewrites_with_the_requested_number_of_alternatives_are_counted(compare, viewer, client_for):
    comparison = compare(inputs=2, operation="rewrite", count=4)
    for place, trial in enumerate(comparison.trials.select_related("comparison", "input").order_by("arm", "input")):
        answer(trial, "1. a\n2. b", alternatives=(4, 3, 4, 4)[place])
    _, measures = figures(comparison)
    assert [(row.obeyed.count, row.obeyed.of) for row in measures.arms] == [(1, 2), (2, 2)]
    assert "Requested number of alternatives" in client_for(viewer).get(f"/compare/{comparison.pk}/").content.decode()


def test_the_arms_are_compared_by_how_they_met_the_contract(compare, viewer, client_for):
    comparison = compare(inputs=3)
    outcomes = ["at_once", "repaired", "breached", "at_once", "at_once", None]
    for trial, contract in zip(comparison.trials.order_by("arm", "input"), outcomes, strict=True):
        answer(trial, "a fox", error="p1 broke the contract" if contract == "breached" else "")
        Run.objects.filter(trial=trial).update(contract=contract)
    _, measures = figures(comparison)
    assert [(row.at_once.count, row.at_once.of, row.repaired, row.breached) for row in measures.arms] == [
        (1, 3, 1, 1),
        (2, 2, 0, 0),
    ]
    page = client_for(viewer).get(f"/compare/{comparison.pk}/").content.decode()
    for words in ("Contract met at once", "Answer repaired", "Contract breached"):
        assert words in page


def test_without_a_contract_the_verdict_has_no_such_rows(compare, viewer, client_for):
    comparison = compare(inputs=1)
    for trial in comparison.trials.all():
        answer(trial, "a fox")
    assert "Contract met" not in client_for(viewer).get(f"/compare/{comparison.pk}/").content.decode()


@pytest.mark.parametrize(
    ("state", "answers", "sentence"),
    [
        ("running", 0, "as soon as two arms have answered it"),
        ("canceled", 0, "canceled before any answer arrived"),
        ("running", 1, "nothing to vote on yet"),
        ("done", 2, "2 inputs are ready"),
    ],
)
def test_a_page_without_votes_says_why(compare, viewer, client_for, state, answers, sentence):
    comparison = compare(inputs=2)
    Comparison.objects.update(state=state)
    for trial in comparison.trials.select_related("comparison", "input").order_by("arm", "input")[: 2 * answers]:
        answer(trial)
    page = client_for(viewer).get(f"/compare/{comparison.pk}/").content.decode()
    assert "No votes yet" in page
    assert sentence in page
    assert ("Measures of the answers" in page) is bool(answers)


def test_the_figures_follow_new_changed_and_undone_votes(compare, viewer):
    comparison = compare(inputs=3)
    answer_all(comparison)
    cast(comparison, viewer, "11")
    assert figures(comparison)[0].votes == 2
    vote = Vote.objects.order_by("pk").last()
    vote.choice = "second"
    vote.save()
    assert figures(comparison)[0].pairs[0].second_won.count == 1
    vote.delete()
    assert figures(comparison)[0].votes == 1
    cast(comparison, viewer, "  2")
    assert figures(comparison)[0].pairs[0].second_won.count == 1


def test_arms_are_named_by_what_differs(compare, actor):
    comparison = compare(arms=2)
    assert [arm.name for arm in named_arms(comparison)] == ["A (v1)", "B (v2)"]
    comparison.arms.filter(position=1).update(
        version=comparison.arms.get(position=0).version, provider_name="cerebras", temperature=0.2
    )
    comparison.arms.filter(position=0).update(temperature=0.7)
    assert [arm.name for arm in named_arms(comparison)] == [
        "A (groq, temperature 0.7)",
        "B (cerebras, temperature 0.2)",
    ]


def test_the_number_of_queries_does_not_grow(compare, viewer, client_for, actor):
    browser = client_for(viewer)
    live.current()
    counts = []
    for inputs in (1, 30):
        comparison = compare(arms=4, inputs=inputs, provider=f"groq-{inputs}")
        answer_all(comparison)
        for pair in combinations(range(4), 2):
            cast(comparison, viewer, "1" * inputs, pair=pair)
        browser.get("/compare/")
        for _ in ("counted", "from the cache"):
            with CaptureQueriesContext(connection) as captured:
                assert browser.get(f"/compare/{comparison.pk}/").status_code == 200
            counts.append(len(captured))
    assert counts[:2] == counts[2:]
    assert counts[0] > counts[1]


def test_a_person_with_ballots_left_is_warned_first(compare, editor, client_for):
    comparison = compare(inputs=2)
    answer_all(comparison)
    browser, path = client_for(editor), f"/compare/{comparison.pk}/"
    page = browser.get(path).content.decode()
    assert "Hidden until you have voted" in page
    assert "Measures of the answers" not in page
    answered = browser.post(f"/compare/{comparison.pk}/seen/", {"next": path})
    assert answered.url == path
    assert "Measures of the answers" in browser.get(path).content.decode()
    assert "2 inputs are ready" in browser.get(path).content.decode()


def test_names_from_outside_are_escaped(compare, viewer, client_for):
    comparison = compare()
    comparison.arms.filter(position=1).update(provider_name='<b>"x')
    answer_all(comparison)
    viewer.name = "<script>alert(1)</script>"
    cast(comparison, viewer, "121")
    page = client_for(viewer).get(f"/compare/{comparison.pk}/").content.decode()
    assert "<script>alert" not in page
    assert '<b>"x' not in page
    fragment = client_for(viewer, htmx=True).get(f"/compare/{comparison.pk}/").content.decode()
    assert fragment.lstrip().startswith('<section class="card verdict" id="verdict"')
