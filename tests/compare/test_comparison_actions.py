"""Starting, pausing, resuming and canceling comparisons; the limits of arms, inputs and repeats."""

from dataclasses import replace

import pytest
from django.core.exceptions import ValidationError

from promptops.compare.actions import comparisons
from promptops.compare.actions.comparisons import ArmChoice
from promptops.compare.models import Comparison, Trial
from promptops.engine.types import PromptOperation
from promptops.ledger.errors import Stale
from promptops.live import snapshots as live
from promptops.prompts.actions.releases import Content
from promptops.prompts.actions.variables import declare
from promptops.providers.actions.chain import ProviderFields, create_provider
from promptops.providers.models import Provider

pytestmark = pytest.mark.django_db


@pytest.fixture
def arms(publish, actor) -> list[ArmChoice]:
    """Two versions of `enhance` and a draft of it on one provider; live settings fill what is left open."""
    first, second = publish("enhance", "One.", temperature=0.1), publish("enhance", "Two.", max_tokens=99)
    create_provider(ProviderFields("p1", "openai", "m1", "http://127.0.0.1:1/v1"), by=actor)
    provider = Provider.objects.get()
    return [
        ArmChoice(first.template, first, Content(**first.content), provider),
        ArmChoice(second.template, second, Content(**second.content), provider),
        ArmChoice(second.template, None, Content("Three.", model="other"), provider),
    ]


@pytest.fixture
def start(arms, actor):
    def make(inputs=("a fox", "a hen"), arms=arms, operation=PromptOperation.ENHANCE, name="Old or new", **more):
        return comparisons.start(
            name, operation, list(inputs), list(arms), by=actor, snapshot=live.load(), inputs_from="Foxes", **more
        )

    return make


def test_a_comparison_copies_everything_that_it_uses(start):
    comparison = start(repeats=2)
    first, second, draft = comparison.arms.all()
    assert (first.body, first.temperature, first.max_tokens, first.version.number) == ("One.", 0.1, 256, 1)
    assert (second.body, second.temperature, second.max_tokens, second.version.number) == ("Two.", 0.7, 99, 2)
    assert (draft.body, draft.model, draft.version) == ("Three.", "other", None)
    assert {arm.provider_model for arm in comparison.arms.all()} == {"m1"}
    assert [arm.letter for arm in comparison.arms.all()] == ["A", "B", "C"]
    assert [each.text for each in comparison.inputs.all()] == ["a fox", "a hen"]
    assert comparison.timeout_ms == 20_000
    trials = Trial.objects.order_by("pk").values_list("input__position", "repeat", "arm__position")
    assert list(trials) == [(i, r, a) for i in range(2) for r in range(2) for a in range(3)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"inputs": []}, "The prompt set is empty."),
        ({"inputs": ["a fox", " "]}, "Input 2 cannot be used."),
        ({"inputs": ["x" * 16_001]}, "Input 1 cannot be used."),
        ({"inputs": ["a"] * 2001}, "2,001 inputs make 6,003 trials"),
        ({"inputs": ["a"] * 1000, "repeats": 4}, "12,000 trials"),
        ({"repeats": 0}, "1 to 5 repeats"),
        ({"repeats": 6}, "1 to 5 repeats"),
        ({"count": 11}, "1 to 10 alternatives"),
        ({"operation": PromptOperation.REWRITE}, "enhance is for enhance, not for rewrite"),
        ({"name": " "}, "cannot be blank"),
        ({"name": "x" * 101}, "at most 100 characters"),
    ],
)
def test_an_invalid_comparison_is_refused_and_leaves_no_rows(start, change, sentence):
    with pytest.raises(ValidationError) as refused:
        start(**change)
    assert sentence in " ".join(refused.value.messages)
    assert not Comparison.objects.exists()


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [([0], "Choose 2 to 4 arms"), ([0, 1, 2, 0, 1], "Choose 2 to 4 arms"), ([0, 1, 0], "Arms A and C are the same")],
)
def test_a_comparison_needs_two_to_four_different_arms(start, arms, chosen, sentence):
    with pytest.raises(ValidationError, match=sentence):
        start(arms=[arms[index] for index in chosen])


def test_variables_are_copied_and_a_text_with_an_unknown_variable_is_refused(start, arms, actor):
    with pytest.raises(ValidationError, match="The text of arm B cannot be run"):
        start(arms=[arms[0], replace(arms[1], content=Content("In {{ season }}."))])
    declare("enhance", "season", "winter", by=actor)
    comparison = start(arms=[arms[0], replace(arms[1], content=Content("In {{ season }}."))])
    assert comparison.variables == {"season": "winter"}


def test_each_step_is_refused_in_the_wrong_state(start, actor):
    comparison = start()
    comparisons.pause(comparison, by=actor)
    with pytest.raises(Stale, match="is paused"):
        comparisons.pause(comparison, by=actor)
    comparisons.resume(comparison, by=actor)
    with pytest.raises(Stale, match="is running"):
        comparisons.resume(comparison, by=actor)
    comparisons.cancel(comparison, by=actor)
    for action in (comparisons.pause, comparisons.resume, comparisons.cancel):
        with pytest.raises(Stale):
            action(comparison, by=actor)
    comparison.refresh_from_db()
    assert (comparison.state, comparison.finished_at is None) == ("canceled", False)
    assert not comparisons.finish_if_done(comparison.pk)


def test_a_comparison_is_done_once_after_every_trial_has_ended(start):
    comparison = start()
    assert not comparisons.finish_if_done(comparison.pk)
    comparison.trials.all().delete()
    assert comparisons.finish_if_done(comparison.pk)
    assert not comparisons.finish_if_done(comparison.pk)
    comparison.refresh_from_db()
    assert comparison.state == "done"
