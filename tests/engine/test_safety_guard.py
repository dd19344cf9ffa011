"""The guard with the shipped model: hostile texts, layers, broken files, threads, event loops, training."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import fasttext
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptops.engine.safety import evaluation, fasttext_classifier
from promptops.engine.safety import windows as windows_of_texts
from promptops.engine.safety.fasttext_classifier import inflections
from promptops.engine.safety.guard import (
    MAX_BYTES,
    SHIPPED,
    DenyTerm,
    ModelSpec,
    Probe,
    Reading,
    SafetyCategory,
    SafetyGuard,
    SafetyLayer,
    SafetyModel,
    SafetyPolicy,
    Terms,
    VerdictDecision,
    read_manifest,
)
from promptops.engine.safety.model import load_fasttext
from promptops.engine.safety.normalize import normalize

DATA = evaluation.SETS
BAD, GOOD = "a man is beheaded and his bloody corpse lies on the floor", "a fox runs through fresh snow"
ALLOW, BLOCK, UNAVAILABLE = VerdictDecision.ALLOW, VerdictDecision.BLOCK, VerdictDecision.UNAVAILABLE


def shipped() -> SafetyModel:
    return SafetyModel.from_manifest(SHIPPED / "current.json")


GUARD = SafetyGuard(shipped())


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", ""),
        ("A Fox, at 4k!", "a fox at 4k"),
        ("ｋｉｌｌ ⓚⓘⓛⓛ 🇰🇮🇱🇱", "kill kill kill"),
        ("🅺🅸🅻🅻 🅚🅘🅛🅛 ꜰɪʀᴇ", "kill kill fire"),
        ("k\u200bi\u00adl\x00l\ud800", "kill"),
        ("one\ntwo\r\nthree", "one two three"),
        ("a fox" + "".join(chr(0xE0000 + ord(letter)) for letter in "Kill him") + "es", "a foxes kill him"),
        ("k\U000e0061i\U000e0062ll 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "kill"),
        ("ñúdé bødy", "nude body"),
        ("кill нitler, sоmеоnе ᴋɪʟʟ", "kill hitler someone kill"),
        ("Война и мир", "воина и мир"),
        ("n.u.d.e n-u-d-e n_u_d_e", "nude nude nude"),
        ("k i l l   h e r", "kill her"),
        ("k i l l t h e d o g", "kill the dog"),
        ("1 2 3 4", "1 2 3 4"),
        ("k|i|l|l her and n+u+d+e", "kill her and nude"),
        ("k.i-l_l* h*e/r n.u-d.e", "kill her nude"),
        ("k....i....l....l h....e....r", "kill her"),
        ("k. i. l. l h. e. r", "kill her"),
        ("k. i. l. l m. e i. n t. h. e p. a. r. k", "kill me in the park"),
        ("i s   i t   m e", "is it me"),
        ("1.2-3/4 5_6.7-8", "1 2 3 4 5 6 7 8"),
        ("k1ll h1m", "kill him"),
        ("4k 3d 1080p 60fps 2nd mp4", "4k 3d 1080p 60fps 2nd mp4"),
        ("black+white", "black white"),
        ("nuuude kiiiill", "nude kill"),
        ("</s>kill __label__safe", "kill safe"),
        ("ki</s>ll h__label__im</s>now", "kill him now"),
        ("be</s>he</S>aded po</s>rnog</s>raph</s>ic in</s>to kill</s>her", "beheaded pornographic into kill her"),
        ("&#107;&#x69;ll &amp;#107;ill h&eacute;r", "kill kill her"),
        ("ki<b>l</b>l h<!-- me -->er <b>now</b> [i]mur[/i]der", "kill her now murder me"),
        ("ki<die>ll and <die>", "kill and die die"),
        ("mur-der be-headed mur-\nder fu-cking", "murder beheaded murder fucking"),
        (
            "a well-known state-of-the-art neon-lit T-Rex, and/or me: no",
            "a well known state of the art neon lit t rex and or me no",
        ),
        ("ki🔥ll k🔥i😀l🎉l mu⭐rder I🔥love🔥fire", "kill kill murder i love fire"),
        ("mu.rder ki**ll", "murder kill"),
        ("kkiillll tthhee mmaann wwiitthh aa ffuucckkiinngg kknniiffee", "kill the man with a fucking knife"),
        ("a glass of latte, hiss, aa and ii", "a glass of latte hiss aa and ii"),
        ("k*ll m**der *kill* 2*3", "k*ll m**der kill 2 3"),
        ("h0w t0 mu(|< k!|| th€ <url> (an", "how to mu kill the url can"),
        ("R&B, AT&T and this&that", "r b at t and this that"),
    ],
)
def test_reading(text, read):
    assert normalize(text) == read


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(), max_size=300))
def test_hostile_texts_get_a_verdict(text):
    verdict = GUARD.check(text)
    assert verdict.decision in VerdictDecision
    assert all(0 <= score <= 1 for score in verdict.scores.values())
    assert not {"\n", "\0", "_"} & set(verdict.normalized)
    verdict.normalized.encode()


@pytest.mark.parametrize(
    "pattern",
    [
        "k ",
        "ﷺ",
        "a\u0301",
        "а1",
        "a!",
        "a . ",
        "aaa",
        "a_",
        "a",
        "\n",
        "[",
        "w w  ",
        "a</s>",
        "&amp;",
        "&#107;",
        "&",
        "<b>k",
        "ki-",
        "k🔥",
        "k*ll ",
        "zzqxkj ",
        "mrdre ",
    ],
)
def test_the_slowest_texts_take_less_than_a_second(pattern):
    start = time.thread_time()
    GUARD.check(pattern * (MAX_BYTES // len(pattern.encode())))
    assert time.thread_time() - start < 1


def test_verdicts():
    bad, good = GUARD.check(BAD), GUARD.check(GOOD)
    assert (bad.decision, bad.layer, bad.category) == (BLOCK, SafetyLayer.MODEL, SafetyCategory.VIOLENCE)
    assert bad.scores[SafetyCategory.VIOLENCE] > 0.9 > good.scores[SafetyCategory.VIOLENCE]
    assert set(bad.words) <= set(BAD.split())
    assert (good.decision, good.reason, good.normalized) == (ALLOW, None, GOOD)
    assert GUARD.self_test() == []


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("a naked man is stabbed to death", SafetyCategory.VIOLENCE),
        ("suicide by hanging cut wrists", SafetyCategory.SELF_HARM),
        ("kill and rape all jews", SafetyCategory.HATE),
    ],
)
def test_of_several_categories_near_1_the_surest_is_named(text, category):
    assert sum(score > 0.9 for score in GUARD.check(text).scores.values()) > 1
    assert GUARD.check(text).category is category


def test_size():
    assert GUARD.check("é" * (MAX_BYTES // 2 + 1)).decision is VerdictDecision.TOO_LONG
    assert "Shorten" in GUARD.check("a" * (MAX_BYTES + 1)).reason
    assert GUARD.check("a fox " * (MAX_BYTES // 6)).decision is ALLOW


def test_terms():
    policy = SafetyPolicy(
        allow_terms=["kill bill"],
        deny_terms=[DenyTerm("Acme Cola"), DenyTerm("kill", SafetyCategory.VIOLENCE), DenyTerm("zorg*")],
    )
    guard = SafetyGuard(None, policy)
    denied = guard.check("an A.C.M.E  cola stand")
    assert (denied.decision, denied.layer, denied.words) == (BLOCK, SafetyLayer.DENY_TERMS, ("acme", "cola"))
    assert guard.check("zorgling").decision is BLOCK
    assert guard.check("Kill Bill").layer is SafetyLayer.ALLOW_TERMS
    assert guard.check("kill bill and kill").decision is BLOCK  # only the phrase itself is exempt
    assert guard.check("acme kill bill cola").decision is UNAVAILABLE  # the gap stays, and there is no model


@pytest.mark.parametrize(
    ("term", "text"),
    [
        ("мат", "мат"),
        ("мат", "this мат is rude"),  # looks Latin beside Latin words, and not alone
        ("мат*", "this МАТом is rude"),
        ("αίμα", "red ΑΊΜΑ there"),
        ("ΤΟΥ", "red του there"),
        ("και το", "here και το there"),
        ("a.i.", "A.I. here, a.i. there"),  # spaced-out letters are one word if there are more of them
        ("a.i.", "an a.i. there"),
    ],
)
def test_terms_are_found_beside_words_that_change_how_they_are_read(term, text):
    assert SafetyGuard(None, SafetyPolicy(deny_terms=[DenyTerm(term)])).check(text).decision is BLOCK
    assert SafetyGuard(None, SafetyPolicy(allow_terms=[term])).check(text).allowed


def test_no_verdict_is_never_allow(monkeypatch):
    assert SafetyGuard(None).check(GOOD).decision is UNAVAILABLE
    assert GUARD.check(None).decision is UNAVAILABLE
    assert GUARD.check("убийство человека").decision is UNAVAILABLE  # the model knows none of these words
    monkeypatch.setattr("promptops.engine.safety.fasttext_classifier.predict", lambda *_: 1 / 0)
    assert GUARD.check(GOOD).decision is UNAVAILABLE


def test_words_that_the_model_does_not_know_hide_nothing():
    unknown = " ".join(f"zzxq{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")
    verdict = GUARD.check(f"{unknown} {BAD} {unknown}")
    assert (verdict.decision, verdict.category) == (BLOCK, SafetyCategory.VIOLENCE)
    assert set(verdict.words) <= set(BAD.split())
    assert GUARD.check(f"{unknown} {GOOD} {unknown}").decision is UNAVAILABLE  # the model knows too few words
    assert GUARD.check(f"{unknown} die {unknown}").decision is UNAVAILABLE  # one word is no evidence of a language


def test_missing_cut_and_swapped_files(tmp_path):
    spec = GUARD._model.get()[0].spec
    for name in ("current.json", spec.path.name):
        shutil.copy(SHIPPED / name, tmp_path)
    model, whole = tmp_path / spec.path.name, spec.path.read_bytes()

    def reason() -> str:
        verdict = SafetyGuard(SafetyModel.from_manifest(tmp_path / "current.json")).check(GOOD)
        assert verdict.decision is UNAVAILABLE
        return verdict.reason

    model.write_bytes(whole[:-1])
    assert "not the file that its manifest describes" in reason()
    model.write_bytes(whole[:-5] + b"12345")
    assert "not the file that its manifest describes" in reason()
    model.unlink()
    assert "cannot be read" in reason()
    (tmp_path / "current.json").write_text("[]")
    assert "not the manifest" in reason()


def test_foreign_models_need_a_map_of_their_labels(tmp_path):
    data, path = tmp_path / "texts", tmp_path / "foreign.bin"
    data.write_text("__label__bad blood gore\n__label__good calm lake\n" * 20)
    fasttext.train_supervised(str(data), dim=4, epoch=40, lr=1.0, thread=1, verbose=0).save_model(str(path))

    def check(labels, probes=()):
        guard = SafetyGuard(
            SafetyModel(ModelSpec(path, labels, probes=probes)), SafetyPolicy({SafetyCategory.VIOLENCE: 0.5})
        )
        return guard.check("blood gore")

    assert check({"bad": SafetyCategory.VIOLENCE, "good": None}).decision is BLOCK
    assert "labels good are not mapped" in check({"bad": SafetyCategory.VIOLENCE}).reason
    assert "block nothing" in check({"bad": None, "good": None}).reason
    turned = check({"bad": None, "good": SafetyCategory.VIOLENCE}, ModelSpec(path, {}).probes)
    assert "self-test" in turned.reason


def test_without_thresholds_no_text_is_called_harmless():
    spec = replace(GUARD._model.get()[0].spec, thresholds={}, probes=())
    for policy in (None, SafetyPolicy(thresholds={})):
        guard = SafetyGuard(SafetyModel(spec), policy)
        assert guard.check(BAD).decision is UNAVAILABLE
        assert "threshold" in guard.check(BAD).reason
    one = SafetyPolicy(thresholds={SafetyCategory.VIOLENCE: 0.5})
    assert SafetyGuard(SafetyModel(spec), one).check(BAD).decision is BLOCK


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), -0.1, 1.1])
def test_thresholds_that_are_no_probabilities_are_refused(threshold):
    spec = GUARD._model.get()[0].spec
    broken = replace(spec, thresholds={**spec.thresholds, SafetyCategory.VIOLENCE: threshold})
    verdict = SafetyGuard(SafetyModel(broken)).check(GOOD)
    assert verdict.decision is UNAVAILABLE
    assert "threshold of violence" in verdict.reason


def test_eight_threads_on_first_use(monkeypatch):
    loads, load = [], fasttext.load_model
    monkeypatch.setattr(fasttext, "load_model", lambda path: loads.append(path) or load(path))
    guard = SafetyGuard(shipped())
    with ThreadPoolExecutor(8) as threads:
        verdicts = list(threads.map(guard.check, [BAD, GOOD] * 8))
    assert [verdict.decision for verdict in verdicts] == [BLOCK, ALLOW] * 8
    assert len(loads) == 1


async def test_a_thousand_callers_on_first_use():
    guard = SafetyGuard(shipped())
    verdicts = await asyncio.gather(*(guard.check_async(text) for text in [BAD, GOOD] * 500))
    assert [verdict.decision for verdict in verdicts] == [BLOCK, ALLOW] * 500


async def test_long_texts_are_scored_off_the_loop_in_small_calls(monkeypatch):
    """fastText holds Python's lock during a call: `python -m benchmarks safety loop` has the figures."""
    calls: list[tuple[str, list[str]]] = []

    def predict(model, lines):
        calls.append((threading.current_thread().name, list(lines)))
        return real(model, lines)

    real = fasttext_classifier.predict
    await GUARD.check_async(GOOD)
    monkeypatch.setattr(fasttext_classifier, "predict", predict)
    await GUARD.check_async(GOOD)
    assert [name for name, _ in calls] == [threading.current_thread().name]
    calls.clear()
    await GUARD.check_async(f"{GOOD} " * 270)
    assert {name.split("_")[0] for name, _ in calls} == {"safety"}
    whole, *windows = [lines for _, lines in calls]
    assert [len(line.split()) for line in whole] == [6 * 270]
    assert len(windows) > 20
    assert all(len(lines) <= fasttext_classifier.BATCH for lines in windows)
    assert all(len(line.split()) <= windows_of_texts.WINDOW for lines in windows for line in lines)


def test_a_thread_beside_the_loop_lets_go_again_and_again():
    """Between the steps of reading every piece, and between all calls to fastText."""
    pauses = []
    GUARD.check_beside(f"{GOOD} " * 270, lambda: pauses.append(1))
    pieces, calls = 8100 // 400, 800 // fasttext_classifier.BATCH
    assert len(pauses) > pieces * 6 + calls


def test_an_event_loop_gets_its_turn_while_a_model_file_is_checked():
    pauses = []
    load_fasttext(str(read_manifest(SHIPPED / "current.json").path), lambda: pauses.append(1))
    assert len(pauses) > 300  # of 30,000 words


async def test_a_loop_has_a_turn_between_the_texts_that_it_judges_itself(monkeypatch):
    turns, judged = 0, []
    GUARD.check(GOOD)  # loads the model, in whatever order the tests run

    async def tick() -> None:
        nonlocal turns
        while len(judged) < 100:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(GUARD, "check", lambda text: judged.append(turns))
    await asyncio.gather(tick(), *(GUARD.check_async(GOOD) for _ in range(100)))
    assert len(set(judged)) == 100


@pytest.mark.parametrize(
    ("word", "form"),
    [
        ("beheads", "beheaded"),
        ("decapitating", "decapitated"),
        ("stabber", "stabbed"),
        ("stabb", "stab"),
        ("poisonings", "poisoning"),
        ("parties", "partied"),  # unlikely forms do no harm: only those that a model knows are used
    ],
)
def test_forms_of_a_word(word, form):
    assert form in inflections(word)
    assert word not in inflections(word)


def test_short_words_have_no_forms():
    assert inflections("red") == inflections("is") == inflections("") == []


def test_a_form_that_the_model_does_not_know_is_scored_as_one_that_it_knows():
    verdict = GUARD.check("a man beheads a stranger and his bloody corpse lies on the floor")
    assert verdict.decision == BLOCK
    assert "beheads" in verdict.words  # as in the text
    assert "beheads" in verdict.window


class KeywordClassifier:
    """A classifier that is not fastText: one word is harmful. It is its own `ClassifierSource`."""

    ready = True
    categories = frozenset({SafetyCategory.VIOLENCE})
    thresholds = {SafetyCategory.VIOLENCE: 0.5}
    probes = (Probe("a sword", SafetyCategory.VIOLENCE), Probe("a fox", None))
    english_only = False

    def get(self):
        return self, None

    def knows(self, text):
        return 1.0

    def read(self, text, pause=lambda: None, known_share=0.0):
        score = float("sword" in text)
        return Reading({SafetyCategory.VIOLENCE: score}, {SafetyCategory.VIOLENCE: " ".join(text)})

    def weightiest(self, window, category, count=3):
        return ("sword",)


async def test_a_guard_takes_any_classifier_that_follows_the_protocol():
    guard = SafetyGuard(KeywordClassifier())
    assert guard.self_test() == []
    verdict = await guard.check_async("a knight draws a sw0rd")
    assert (verdict.decision, verdict.category, verdict.words) == (BLOCK, SafetyCategory.VIOLENCE, ("sword",))
    assert guard.check(GOOD).decision is ALLOW
    assert SafetyGuard(KeywordClassifier(), SafetyPolicy()).check(GOOD).decision is UNAVAILABLE  # no threshold


def test_beginnings_of_words_are_looked_up_not_tried_one_by_one():
    terms = Terms([("ab*", SafetyCategory.HATE), ("abcd*", SafetyCategory.OTHER), ("abc", None), ("ab* cd", None)])
    assert terms.first_in(["abcdef"]) == ("abcd", SafetyCategory.OTHER)
    assert terms.first_in(["abcc"]) == ("ab", SafetyCategory.HATE)
    assert terms.first_in(["a"]) is None
