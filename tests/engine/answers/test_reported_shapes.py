"""Reported shapes of answers, with the first result of each."""

from __future__ import annotations

import json

import pytest

from promptops.engine.answers import ReasoningFilter, parse_alternatives, read_answer

DAWN, DUSK, NIGHT = "A fox sprints at dawn, tracking shot.", "A fox rests at dusk, push-in.", "A fox leaps by night."
PROMPT = "A red fox runs through deep snow at dawn, its breath steaming in the first light."


@pytest.mark.parametrize(
    "text",
    [
        "[THINK]The user wants snow.[/THINK]A red fox runs.",
        "<|channel|>analysis<|message|>Snow.<|end|><|start|>assistant<|channel|>final<|message|>A red fox runs.",
        "<|channel|>analysis<|message|>S.<|end|><|start|>assistant<|channel|>final<|message|>A red fox runs.<|return|>",
    ],
)
def test_other_tags_of_reasoning(text):
    reasoning = ReasoningFilter()
    pieces = [reasoning.feed(text[at : at + 5]) for at in range(0, len(text), 5)]
    assert "".join([*pieces, reasoning.close()]) == "A red fox runs."
    assert read_answer(text, "lines").text == "A red fox runs."


@pytest.mark.parametrize(
    "text",
    [
        "Here are three alternatives to your prompt:\n\n1. {}\n2. {}\n3. {}",
        "Sure! Here are 3 cinematic variations:\n\n{}\n\n{}\n\n{}\n\nLet me know if you want changes!",
        "以下是三个改写版本：\n1. {}\n2. {}\n3. {}",
        "1: {}\n2: {}\n3: {}",
        "1、{}\n2、{}\n3、{}",
        "① {}\n② {}\n③ {}",
        "１．{}\n２．{}\n３．{}",
        "(1) {}\n(2) {}\n(3) {}",
        "**1.** {}\n**2.** {}\n**3.** {}",
        "```\n{}\n{}\n{}\n```",
    ],
)
def test_openings_and_numbers_of_a_rewrite(text):
    assert parse_alternatives(text.format(DAWN, DUSK, NIGHT), 3) == [DAWN, DUSK, NIGHT]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("fence", ["{}", "```json\n{}\n```"])
def test_a_rewrite_as_a_json_list(indent, fence):
    text = fence.format(json.dumps([DAWN, DUSK, NIGHT], indent=indent))
    assert parse_alternatives(text, 3) == [DAWN, DUSK, NIGHT]


@pytest.mark.parametrize(
    "text",
    [
        "Here is the enhanced prompt:\n\n{}",
        '"{}"',
        "```\n{}\n```",
        "**Enhanced Prompt:** {}",
        "以下是优化后的提示词：\n\n{}",
    ],
)
def test_what_is_wrapped_around_an_enhanced_prompt(text):
    assert read_answer(text.format(PROMPT), "text").text == PROMPT
