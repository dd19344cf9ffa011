"""The second stage: its verdicts and those of both stages together, with a tiny encoder and with the real one."""

import json
import threading
from dataclasses import replace

import pytest

from promptops.engine.judging import blocked_sentence, judge, judge_beside
from promptops.engine.safety import second_stage
from promptops.engine.safety.disguises import DISGUISES
from promptops.engine.safety.evaluation import Labeled
from promptops.engine.safety.fitting import Fitter
from promptops.engine.safety.guard import SHIPPED, SafetyGuard, SafetyModel, SafetyPolicy, read_manifest
from promptops.engine.safety.second_stage import (
    HEADS,
    Combined,
    Head,
    SecondStage,
    is_asked,
    pieces,
    read_head,
    readings,
    together,
)
from promptops.engine.safety.verdicts import (
    SafetyCategory,
    SafetyLayer,
    SafetyVerdict,
    UnjudgedCause,
    VerdictDecision,
)
from promptops.engine.snapshot import SafetySpec

VIOLENCE, HATE = SafetyCategory.VIOLENCE, SafetyCategory.HATE
ALLOW, BLOCK, UNAVAILABLE = VerdictDecision.ALLOW, VerdictDecision.BLOCK, VerdictDecision.UNAVAILABLE
COMBINED = Combined(first=1.0, second=2.0, constant=0.0, threshold=0.6, figures={})
HEAD = Head(1, 0.5, (8.0, 8.0, -4.0), {VIOLENCE: (1.0, 0.0, 0.0), HATE: (0.0, 1.0, 0.0)}, {}, COMBINED)
THRESHOLDS = {VIOLENCE: 0.8}


class WordEncoder:
    """An encoder that knows two words: its vector counts them."""

    def __init__(self):
        self.texts, self.threads = [], set()

    def encode(self, texts):
        self.texts += texts
        self.threads.add(threading.current_thread().name)
        return [[float("sangre" in text), float("odio" in text)] for text in texts]


def stage(head=HEAD):
    encoder = WordEncoder()
    return SecondStage(lambda: encoder, head), encoder


def first(decision=ALLOW, layer=SafetyLayer.MODEL, score=0.1, **more):
    return SafetyVerdict(decision, layer, scores={VIOLENCE: score}, **more)


LANGUAGE = first(UNAVAILABLE, cause=UnjudgedCause.LANGUAGE, language="Spanish")


def spec(second, **fields):
    policy = SafetyPolicy(read_manifest(SHIPPED / "current.json").thresholds, allow_terms=("odio eterno",))
    guard = SafetyGuard(SafetyModel.from_manifest(SHIPPED / "current.json"), policy)
    given = {"mode": "enforce", "second_mode": "enforce", "policy": policy, "guard": guard}
    return SafetySpec(**given | fields, second=second)


@pytest.mark.parametrize(
    ("text", "decision", "category"),
    [
        ("un perro corre", ALLOW, VIOLENCE),
        ("sangre en la pared", BLOCK, VIOLENCE),
        ("un discurso de odio", BLOCK, HATE),
        ("flores y pan " * 40 + "sangre", BLOCK, VIOLENCE),
        ("", ALLOW, VIOLENCE),
        ("\ud800 \x00", ALLOW, VIOLENCE),
    ],
)
def test_verdict_of_the_second_stage(text, decision, category):
    verdict = stage()[0].judge(text)
    assert (verdict.decision, verdict.category) == (decision, category)
    assert (verdict.share >= 1) == (decision is BLOCK)


def test_a_threshold_of_the_call_replaces_that_of_the_head():
    second, _ = stage()
    assert second.judge("sangre", 0.99).decision is ALLOW
    assert second.judge("sangre", 0.9).threshold == 0.9


def test_a_long_text_is_read_whole_and_in_pieces():
    text = "una casa blanca " * 40
    read = pieces(text)
    assert read[0] == text.strip()
    assert all(len(piece) <= second_stage.PIECE for piece in read[1:])
    assert " ".join(read[1:]) == text.strip()
    assert len(pieces("血" * 1000)) > 4  # without spaces, too


@pytest.mark.parametrize(
    ("load", "reason"),
    [
        (lambda: __import__("a_package_that_is_missing"), "pip install"),
        (lambda: 1 / 0, "division by zero"),
    ],
)
def test_an_encoder_that_cannot_be_loaded_judges_nothing(load, reason):
    second = SecondStage(load, HEAD)
    verdict = second.judge("sangre")
    assert (verdict.decision, verdict.score) == (UNAVAILABLE, None)
    assert reason in verdict.reason
    assert reason in second.self_test()[0]
    assert reason in second.problems()[0]


def test_a_head_of_another_encoder_judges_nothing():
    second, _ = stage(Head(1, 0.5, (1.0, 0.0), {VIOLENCE: (1.0, 0.0)}, {}, COMBINED))
    assert second.judge("sangre").decision is UNAVAILABLE


def test_problems_are_unknown_until_the_self_test():
    second, _ = stage()
    assert second.problems() is None
    assert len(second.self_test()) == 2  # this encoder knows no English
    assert second.problems() == second.self_test()
    assert second.problems(0.3) is None


@pytest.mark.parametrize(
    ("scope", "verdict", "expected"),
    [
        ("doubtful", first(score=0.1), False),
        ("doubtful", first(score=0.3), True),
        ("doubtful", first(BLOCK, score=0.9), True),
        ("doubtful", first(BLOCK, SafetyLayer.DENY_TERMS, score=0.9), False),
        ("doubtful", LANGUAGE, True),
        ("all", first(score=0.0), True),
        ("all", first(BLOCK, score=0.9), True),
        ("all", LANGUAGE, True),
        ("all", first(UNAVAILABLE, cause=UnjudgedCause.DOWN), False),
        ("all", first(BLOCK, SafetyLayer.DENY_TERMS), False),
        ("all", first(layer=SafetyLayer.ALLOW_TERMS), False),
        ("all", first(VerdictDecision.TOO_LONG, SafetyLayer.SIZE), False),
    ],
)
def test_texts_for_the_second_stage(scope, verdict, expected):
    assert is_asked(scope, verdict, THRESHOLDS) is expected


@pytest.mark.parametrize(
    ("verdict", "text", "decision", "layer"),
    [
        (first(), "sangre", BLOCK, SafetyLayer.SENTENCES),
        (first(), "flores", ALLOW, SafetyLayer.MODEL),
        (LANGUAGE, "sangre", BLOCK, SafetyLayer.SENTENCES),
        (LANGUAGE, "flores", ALLOW, SafetyLayer.SENTENCES),
        (first(BLOCK, category=VIOLENCE, score=0.9), "sangre", BLOCK, SafetyLayer.MODEL),
        (first(BLOCK, category=VIOLENCE, score=0.9), "flores", ALLOW, SafetyLayer.SENTENCES),
        (first(BLOCK, category=VIOLENCE, score=0.99999), "flores", BLOCK, SafetyLayer.MODEL),
        (first(score=0.0001), "sangre", ALLOW, SafetyLayer.MODEL),
    ],
)
def test_verdict_of_both_stages(verdict, text, decision, layer):
    both = together(verdict, stage()[0].judge(text), THRESHOLDS)
    assert (both.decision, both.layer, both.cause) == (decision, layer, None)
    assert both.scores == verdict.scores


def test_a_lifted_block_says_why_and_names_no_harm():
    blocked = first(BLOCK, category=VIOLENCE, score=0.9, words=("knife",), reason="The model scores it")
    both = together(blocked, stage()[0].judge("flores"), THRESHOLDS)
    assert (both.category, both.words) == (None, ())
    assert both.reason.startswith("The first stage alone blocks this text. Both stages together score")
    assert "the threshold is 0.60" in both.reason


def test_the_thresholds_of_both_stages_move_the_combined_score():
    blocked, second = first(BLOCK, category=VIOLENCE, score=0.9), stage()[0]
    assert together(blocked, second.judge("flores"), {VIOLENCE: 0.8}).decision is ALLOW
    assert together(blocked, second.judge("flores"), {VIOLENCE: 0.0001}).decision is BLOCK
    assert together(blocked, second.judge("flores", 0.01), {VIOLENCE: 0.8}).decision is BLOCK


def test_the_combined_threshold_is_not_that_of_the_second_stage():
    strict, lax = (stage(replace(HEAD, combined=replace(COMBINED, threshold=value)))[0] for value in (0.01, 0.999999))
    for text in ("flores", "sangre"):
        assert together(first(score=0.5), strict.judge(text), THRESHOLDS).decision is (
            BLOCK if text == "sangre" else ALLOW
        )
        assert together(first(score=0.5), lax.judge(text), THRESHOLDS).decision is ALLOW
        assert strict.judge(text).decision is lax.judge(text).decision
    assert together(LANGUAGE, lax.judge("sangre"), THRESHOLDS).decision is BLOCK


def test_a_block_stays_if_the_second_stage_has_no_verdict():
    blocked = first(BLOCK, category=VIOLENCE, score=0.9)
    assert together(blocked, SecondStage(lambda: 1 / 0, HEAD).judge("flores"), THRESHOLDS) == blocked


GUARD = SafetyGuard(SafetyModel.from_manifest(SHIPPED / "current.json"))
HARMFUL = "the man stabs his neighbor and blood sprays over the wall"
BRUTAL = "they torture and murder the hostage, rape her corpse and behead her"


@pytest.mark.parametrize(
    "name", ["upper case", "diacritics", "homoglyphs", "leet", "HTML entities", "tags in words", "vowels dropped"]
)
def test_a_disguised_text_is_also_read_as_the_first_stage_read_it(name):
    disguised = DISGUISES[name](HARMFUL)
    verdict = GUARD.check(disguised)
    read = [line for line, _ in readings(disguised, verdict)]
    assert read[: len(pieces(disguised)) + 1] == [*pieces(disguised), verdict.normalized]


def test_a_misspelled_text_is_also_read_with_its_words_repaired():
    disguised = DISGUISES["vowels dropped"](BRUTAL)
    line, discount = readings(disguised, GUARD.check(disguised))[-1]
    assert ("murder" in line, discount) == (True, 0)


def test_a_text_with_filling_words_is_also_read_without_them():
    disguised = DISGUISES["a harmless word after each word"]("how do i stab a guard in the back")
    assert ("how do i stab a guard in the back", 0) in readings(disguised, GUARD.check(disguised))


def test_the_worst_parts_of_a_long_text_are_read_at_a_discount():
    disguised = DISGUISES["padded with 50 words"](HARMFUL)
    parts = [line for line, discount in readings(disguised, GUARD.check(disguised)) if discount]
    assert parts == list(GUARD.check(disguised).parts)
    assert any("stabs" in part for part in parts)
    assert 1 <= len(parts) <= 4
    assert GUARD.check(HARMFUL).parts == GUARD.check(DISGUISES["padded with 50 words"]("a dog")).parts == ()


def test_a_part_needs_a_higher_score_than_a_text():
    second, part = stage()[0], first(parts=("sangre",))
    whole = second.judge("sangre")
    assert second.judge("flores").score < second.judge("flores", first=part).score < whole.score


@pytest.mark.parametrize("text", [HARMFUL, "A fox runs through fresh snow, isn't it nice?", "un perro corre"])
def test_a_plain_text_is_read_as_typed(text):
    assert readings(text, GUARD.check(text)) == [(text, 0)]


@pytest.mark.parametrize(("verdict", "cause"), [(first(), UnjudgedCause.DOWN), (LANGUAGE, UnjudgedCause.LANGUAGE)])
def test_a_text_that_the_second_stage_should_have_judged_is_not_harmless(verdict, cause):
    both = together(verdict, SecondStage(lambda: 1 / 0, HEAD).judge("flores"), THRESHOLDS)
    assert (both.decision, both.cause) == (UNAVAILABLE, cause)


SPANISH = "la mujer camina por la calle con sangre en las manos"


@pytest.mark.parametrize(
    ("fields", "decision", "blocked", "asked"),
    [
        ({}, BLOCK, True, True),
        ({"mode": "shadow"}, BLOCK, False, True),
        ({"second_mode": "shadow", "blocks_languages": False}, UNAVAILABLE, False, True),
        ({"second_mode": "off"}, UNAVAILABLE, True, False),
        ({"second_mode": "shadow", "mode": "off"}, UNAVAILABLE, False, False),
    ],
)
async def test_judging_a_text_in_a_language_that_the_first_stage_does_not_know(fields, decision, blocked, asked):
    second, encoder = stage()
    checked = await judge(spec(second, **fields), "input", SPANISH, [])
    assert (checked.verdict.decision, checked.blocked) == (decision, blocked)
    assert (checked.second is not None) == bool(encoder.texts) == asked
    assert threading.main_thread().name not in encoder.threads
    assert judge_beside(spec(second, **fields), SPANISH) == (checked.verdict, checked.second)


async def test_the_sentence_of_a_block_names_the_second_stage_and_not_the_text():
    safety = spec(stage()[0])
    sentence = blocked_sentence(await judge(safety, "input", SPANISH, []), safety)
    assert "second stage" in sentence
    assert "violence" in sentence
    assert "sangre" not in sentence


@pytest.mark.parametrize(("mode", "decision"), [("enforce", ALLOW), ("shadow", BLOCK)])
async def test_an_enforced_second_stage_lifts_a_block_of_the_model(mode, decision):
    second, _ = stage(replace(HEAD, combined=replace(COMBINED, second=4.0)))
    checked = await judge(spec(second, second_mode=mode), "input", BRUTAL, [])
    assert (checked.verdict.decision, checked.blocked) == (decision, decision is BLOCK)
    assert (checked.both.decision, checked.both.layer) == (ALLOW, SafetyLayer.SENTENCES)


async def test_the_second_stage_does_not_read_allowed_terms():
    second, encoder = stage()
    checked = await judge(spec(second, second_scope="all"), "input", "a poster of Odio Eterno on a wall", [])
    assert checked.verdict.decision is ALLOW
    assert encoder.texts == ["a poster of on a wall"]


async def test_a_slow_second_stage_leaves_a_text_unjudged(monkeypatch):
    monkeypatch.setattr(second_stage, "SECONDS", 0.05)
    ends = threading.Event()
    second = SecondStage(lambda: ends.wait(10), HEAD)
    try:
        checked = await judge(spec(second), "input", SPANISH, [])
    finally:
        ends.set()
    assert checked.second.decision is UNAVAILABLE
    assert (checked.verdict.decision, checked.blocked) == (UNAVAILABLE, True)


def test_a_damaged_head_is_refused(tmp_path):
    data = json.loads((HEADS / "current.json").read_text())
    rules = [{"combined": data["combined"] | wrong} for wrong in ({"second": 0}, {"threshold": 1}, {"first": "x"})]
    for change in ({"threshold": 0}, {"categories": {}}, {"unsafe": [1.0]}, {"categories": {"fun": [1.0]}}, *rules):
        path = tmp_path / "head.json"
        path.write_text(json.dumps(data | change))
        with pytest.raises(ValueError, match="not the head"):
            read_head(path)
    with pytest.raises(ValueError, match="cannot be read"):
        read_head(tmp_path / "none.json")


def test_the_real_encoder_passes_the_self_test():
    second = SecondStage()
    assert second.self_test() == []
    assert second.problems() == []


def test_the_real_encoder_reads_other_languages():
    from promptops.engine.safety.evaluation import judge
    from promptops.engine.safety.second_stage_evaluation import evaluate

    texts = [Labeled("video prompts", "prompt", "a fox runs through fresh snow", False)]
    model = SafetyModel.from_manifest(SHIPPED / "current.json")
    judged = judge(GUARD, model.get()[0], texts)
    tables = evaluate(judged, second_stage.shipped(), GUARD, model.get()[0].thresholds)["tables"]
    (languages,) = [table for title, table in tables.items() if "languages" in title]
    assert sum(int(row["unsafe"].split()[0]) for row in languages) >= 30
    assert sum(int(row["safe"].split()[0]) for row in languages) <= 2


# Fits the five models of the cross-validation, unless another test did, and encodes 5,000 texts: 15 s.
def test_the_shipped_head_comes_from_the_shipped_rubrics(fit_once, monkeypatch):
    from promptops.engine.safety.second_stage_fitting import first_heights, fit_head, read_rows

    monkeypatch.setattr(Fitter, "fit", fit_once)
    shipped = json.loads((HEADS / "current.json").read_text())
    fitted = fit_head(read_rows(), second_stage.shipped_encoder(), shipped["version"], first_heights())
    assert fitted["rubrics"] == shipped["rubrics"]
    assert fitted["threshold"] == pytest.approx(shipped["threshold"], abs=0.005)
    for name in ("first", "second", "constant", "threshold"):
        assert fitted["combined"][name] == pytest.approx(shipped["combined"][name], abs=0.02)
    assert fitted["unsafe"] == pytest.approx(shipped["unsafe"], abs=0.01)
