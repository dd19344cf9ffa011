"""Reading answers: the corpus, and what must never change."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from promptops.engine.answers import parse_alternatives, read_answer
from tests.engine.answers import corpus
from tests.engine.answers.corpus import Row

DATA = Path(__file__).parents[2] / "data"

ROWS = [*corpus.TEXTS, *corpus.UNCHANGED, *corpus.LINES, *corpus.EMBEDDED, *corpus.LATER]
REFUSALS = [*corpus.REFUSALS, *corpus.LATER_REFUSALS]


def reading(row: Row) -> str | list[str]:
    if row.count is None:
        return read_answer(row.written, "text").text
    return parse_alternatives(read_answer(row.written, "lines").text, row.count)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.kind)
def test_the_corpus_is_read_right(row):
    assert reading(row) == row.right
    assert read_answer(row.written, "lines" if row.count else "text").refusal is False


@pytest.mark.parametrize("row", [row for row in ROWS if row.count], ids=lambda row: row.kind)
def test_alternatives_of_a_foreign_enhancer_are_read_right_too(row):
    assert parse_alternatives(row.written, row.count) == row.right


@pytest.mark.parametrize("shape", ["text", "lines"])
@pytest.mark.parametrize("written", REFUSALS)
def test_a_refusal_is_no_prompt(written, shape):
    assert read_answer(written, shape).refusal is True


def test_the_corpus_is_as_large_as_promised():
    assert len(ROWS) + len(REFUSALS) >= 120
    assert len(corpus.EMBEDDED) >= 30
    assert Counter(row.kind for row in ROWS)["unchanged"] >= 40


def public_prompts() -> list[str]:
    texts = []
    for name in ("video_prompts.tsv", "image_prompts.tsv"):
        with (DATA / name).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                texts += [row[column] for column in ("prompt", "enhanced") if column in row]
    return texts


def test_no_public_prompt_is_changed():
    prompts = public_prompts()
    assert len(prompts) == 90
    for prompt in prompts:
        assert read_answer(prompt, "text").text == prompt.strip()
        assert not read_answer(prompt, "text").refusal
        assert parse_alternatives(prompt, 1) == [prompt.strip()]


@pytest.mark.parametrize("written", corpus.UNREADABLE)
def test_reading_never_empties_an_answer(written):
    assert read_answer(written, "text").text == written
