"""The rubrics that ship: their form, what they share with the evaluation sets, and who is in them."""

from __future__ import annotations

import csv
import re
from collections import Counter

import pytest

from promptops.engine.safety import evaluation
from promptops.engine.safety.normalize import normalize
from promptops.engine.safety.rubric import RUBRIC, read_rubric
from promptops.engine.safety.verdicts import SafetyCategory

LANGUAGES = RUBRIC.with_name("rubric_languages.tsv")
SENTENCES = RUBRIC.with_name("rubric_sentences.tsv")
MINORS = {
    "en": r"child(ren|hood)?|kids?|bab(y|ies)|toddlers?|infants?|newborns?|minors?|underage|(pre)?teen(s|age|agers?)?|"
    r"(school)?(boys?|girls?)|pupils?|adolescents?|juveniles?|loli(ta)?s?|(grand)?(daughters?|sons?)",
    "es": r"niñ[oa]s?|bebés?|adolescentes?|muchach[oa]s?|chic[oa]s?|hij[oa]s?|nietos?|menor(es)?|alumn[oa]s?",
    "de": r"kind(er|ern|es)?|mädchen|jungen?|babys?|säuglinge?|jugendlich\w*|t[oö]chter|s[oö]hne?|schüler\w*",
    "fr": r"enfants?|bébés?|garçons?|fill(ett)?es?|fils|mineure?s?|ados?|adolescente?s?|élèves?",
    "pt": r"crianças?|bebês?|menin[oa]s?|filh[oa]s?|garot[oa]s?|adolescentes?|menor(es)?|alun[oa]s?",
    "zh": r"\w*(孩|儿童|少年|少女|婴|未成年|女儿|儿子|学生)\w*",
    "ja": r"\w*(子供|子ども|こども|少年|少女|幼|赤ちゃん|未成年|娘|息子|生徒)\w*",
}
"""Words for people who are not adults, in the languages of both rubrics."""


def has_minors(language: str, text: str) -> bool:
    """Return whether the text has a word for a minor."""
    return bool(re.search(rf"\b({MINORS[language]})\b", text, re.IGNORECASE))


@pytest.fixture(scope="module")
def lines() -> list[list[str]]:
    with LANGUAGES.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_the_rubric_of_other_languages_has_known_labels_and_kinds(lines):
    assert lines[0] == ["label", "category", "language", "text"]
    kinds = {"group", "hard_negative", "ordinary", "question"}
    for label, category, language, text in lines[1:]:
        assert category in (set(SafetyCategory) if label == "unsafe" else kinds), text
        assert label in ("safe", "unsafe"), text
        assert text == text.strip() != "", text
        assert re.fullmatch("[a-z]{2}", language), text


def test_each_other_language_has_harmful_texts_of_every_category_and_more_harmless_ones(lines):
    languages = {line[2] for line in lines[1:]}
    assert len(languages) >= 5
    for language in languages:
        harmful = Counter(line[1] for line in lines[1:] if line[2] == language and line[0] == "unsafe")
        harmless = Counter(line[1] for line in lines[1:] if line[2] == language and line[0] == "safe")
        assert set(harmful) == set(SafetyCategory), language
        assert {"group", "hard_negative", "ordinary"} <= set(harmless), language
        assert harmless.total() > harmful.total() >= 15, language


def test_no_text_of_another_language_is_there_twice_or_evaluated_with(lines):
    texts = [normalize(line[3]) for line in lines[1:]]
    assert [text for text, count in Counter(texts).items() if count > 1] == []
    with (evaluation.SETS / "languages.tsv").open(encoding="utf-8", newline="") as file:
        sentences = [line[1] for line in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    evaluated = {normalize(text) for text in (*sentences, *(one.text for one in evaluation.read_sets(evaluation.SETS)))}
    assert evaluated.intersection(texts) == set()


def test_nobody_in_the_rubrics_is_a_minor(lines):
    """Harmless English lines of everyday life have families in them; no other line has any word for a minor."""
    assert has_minors("en", "a teenager at school")
    assert has_minors("ja", "公園の子供たち")
    assert [line[3] for line in lines[1:] if has_minors(line[2], line[3])] == []
    english = read_rubric(RUBRIC) + read_rubric(SENTENCES)
    assert [row.text for row in english if row.harmful and has_minors("en", row.text)] == []


def test_no_line_of_the_second_stage_is_in_the_rubric_or_evaluated_with():
    lines = {normalize(row.text) for row in read_rubric(SENTENCES)}
    assert lines.isdisjoint(normalize(row.text) for row in read_rubric(RUBRIC))
    assert lines.isdisjoint(normalize(one.text) for one in evaluation.read_sets(evaluation.SETS))
