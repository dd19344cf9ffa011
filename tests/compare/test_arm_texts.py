"""Arms with a user template and examples: what is pinned, sent, shown and published."""

from dataclasses import replace

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse

from promptops.compare.actions import trials
from promptops.compare.models import Comparison, Trial
from promptops.engine.contracts import TextContract
from promptops.live import snapshots as live
from promptops.prompts.actions import variables
from tests.factories import arm_of, make_provider, start_comparison

pytestmark = pytest.mark.django_db

USER = "In {{ style }}: {{ input }}"
EXAMPLES = "a cat\n=>\nA <b>cat</b>."


@pytest.fixture
def arms(publish, actor):
    variables.declare("enhance", "style", "noir", by=actor)
    provider = make_provider()
    plain = publish("enhance", "Text.")
    return [
        arm_of(plain, provider),
        arm_of(publish("enhance", "Text.", user_template=USER, examples=EXAMPLES), provider),
    ]


def test_an_arm_keeps_and_sends_its_texts(arms, actor):
    comparison = start_comparison(arms, by=actor)
    arm = comparison.arms.get(position=1)
    assert (arm.user_template, arm.examples) == (USER, EXAMPLES)
    style = variables.Variable.objects.get()
    variables.change(style, "color", by=actor, expected=style.changed_revision)  # the comparison keeps the old value
    trial = Trial.objects.get(arm=arm)
    messages = trials._plan(trial, None, live.load(), "claim").request().messages
    assert [message.content for message in messages] == ["Text.", "a cat", "A <b>cat</b>.", "In noir: a fox"]
    plain = Trial.objects.get(arm__position=0)
    messages = trials._plan(plain, None, live.load(), "claim").request().messages
    assert [message.content for message in messages] == ["Text.", "a fox"]


def test_an_arm_whose_texts_cannot_be_sent_is_refused(arms, actor):
    broken = replace(arms[1], version=None, content=replace(arms[1].content, examples="a cat"))
    with pytest.raises(ValidationError, match=r"The text of arm B cannot be run\. Example 1 has no line"):
        start_comparison([arms[0], broken], by=actor)


def test_an_arm_keeps_its_answer_rules_and_answers_are_checked_by_them(publish, actor):
    provider = make_provider()
    plain = arm_of(publish("enhance", "Text."), provider)
    ruled = arm_of(publish("enhance", "Text.", answer_rules="at most 60 words"), provider)
    comparison = start_comparison([plain, ruled], by=actor)
    contracts = [
        trials._plan(trial, None, live.load(), "claim").request().contract
        for trial in Trial.objects.order_by("arm__position")
    ]
    assert contracts == [TextContract(), TextContract(max_words=60)]
    assert [arm.answer_rules for arm in comparison.arms.all()] == [None, "at most 60 words"]
    broken = replace(ruled, version=None, content=replace(ruled.content, answer_rules="be brief"))
    with pytest.raises(ValidationError, match=r"The text of arm B cannot be run\. Answer rules: Line 1 is no rule"):
        start_comparison([plain, broken], by=actor)


def test_the_report_and_the_panel_of_an_arm_show_its_texts(arms, actor, client_for, releaser):
    comparison = start_comparison(arms, by=actor)
    Comparison.objects.update(state="canceled")
    page = client_for(releaser).get(reverse("comparison_report", args=[comparison.pk])).content.decode()
    assert f">{USER}</pre>" in page
    assert "A &lt;b&gt;cat&lt;/b&gt;.</pre>" in page
    arm = comparison.arms.get(position=0)
    panel = client_for(releaser, htmx=True).post(reverse("arm_publish", args=[comparison.pk, arm.pk]))
    assert panel.content.decode().count('class="of-text"') == 2
