"""Layouts: which file has which text."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from promptops.client.mirror.layouts import (
    LAYOUTS,
    InvalidLayout,
    MissingText,
    left_out,
    live_texts,
    read_layout,
    without_effect,
)
from promptops.engine.enhancer import PromptEnhancer
from promptops.engine.snapshot import Lever
from promptops.engine.types import PromptOperation
from tests.client.rooms import snapshot
from tests.client.test_client_runs import Model


@pytest.mark.parametrize(
    ("entries", "layout"),
    [
        (["fastvideo"], LAYOUTS["fastvideo"]),
        (["a.txt=enhance", "b.md=enhance"], {"a.txt": "enhance", "b.md": "enhance"}),
        (["fastvideo", "rewrite.txt=enhance"], {**LAYOUTS["fastvideo"], "rewrite.txt": "enhance"}),
    ],
)
def test_a_layout_is_read(entries, layout):
    assert read_layout(entries) == layout


@pytest.mark.parametrize(
    "entry",
    [
        *("unknown", "", "=enhance", "a.txt=", "../a.txt=enhance", "a/b=enhance", "/etc/x=enhance", ".hidden=enhance"),
        *("manifest.json=enhance", "follow-state.json=enhance", "a.replaced=enhance", "a\n=enhance", "a b=enhance"),
    ],
)
def test_an_entry_that_cannot_be_used_is_refused(entry):
    with pytest.raises(InvalidLayout, match=r"\.$"):
        read_layout([entry])


def test_no_two_files_differ_only_in_case_and_there_are_not_too_many():
    with pytest.raises(InvalidLayout):
        read_layout(["a.txt=enhance", "A.txt=enhance"])
    with pytest.raises(InvalidLayout):
        read_layout([f"{number}.txt=enhance" for number in range(65)])


def test_fastvideos_files_are_those_that_the_engine_reads(tmp_path):
    texts = live_texts(snapshot(3), LAYOUTS["fastvideo"])
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text.data)
    enhancer = PromptEnhancer(providers=[Model()], model="m", system_prompt_dir=str(tmp_path))
    assert enhancer._system_prompts == {operation: f"{operation.value} e1 r3" for operation in PromptOperation}


def test_variables_are_filled_in():
    configuration = snapshot(text="Polish {{ what }}.", variables={"enhance": {"what": "the shot"}})
    assert live_texts(configuration, {"a.txt": "enhance"})["a.txt"].data == b"Polish the shot.\n"


@pytest.mark.parametrize("layout", [{"a.txt": "next_segment"}, {"a.txt": "enhance", "b.txt": "next_segment"}])
def test_an_operation_that_is_not_there_is_named(layout):
    with pytest.raises(MissingText, match="next_segment"):
        live_texts(snapshot(), layout)


def test_no_file_is_ever_empty():
    with pytest.raises(MissingText):
        live_texts(snapshot(text="{{ nothing }}", variables={"enhance": {"nothing": " "}}), {"a.txt": "enhance"})


def test_an_operation_without_a_default_template_has_no_text():
    with pytest.raises(MissingText):
        live_texts(replace(snapshot(), defaults={}), {"a.txt": "enhance"})


def test_a_pass_through_lever_has_no_effect_until_it_ends():
    now = datetime(2026, 12, 1, tzinfo=UTC)
    lever = Lever("pass_through", "enhance", now + timedelta(minutes=5))
    configuration = snapshot(levers=(lever,))
    assert "enhance" in without_effect(configuration, {"a.txt": "enhance"}, now)
    assert not without_effect(configuration, {"a.txt": "rewrite"}, now)
    assert not without_effect(configuration, {"a.txt": "enhance"}, now + timedelta(minutes=6))


def test_what_files_cannot_carry_is_named():
    configuration = snapshot()
    templates = (replace(configuration.templates[0], user_template="Say {{ input }}"), *configuration.templates[1:])
    configuration = replace(configuration, templates=templates)
    assert left_out(configuration, LAYOUTS["fastvideo"]) == [configuration.templates[0].operation]
