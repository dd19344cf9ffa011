"""The safety filter, with a small real fastText model."""

from __future__ import annotations

import shutil
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fasttext
import pytest

from promptops.engine import PromptSafetyFilter, SafetyDecision, SafetyResult, first_blocked, safety

SAFE = ["a fox runs through snow", "a calm lake at dawn", "children fly kites on a hill", "a cat sleeps in the sun"]
UNSAFE = ["blood gore massacre", "torture and murder", "kill them all with knives", "gore blood everywhere"]
PROMPT, THREAT = "a fox runs through snow at dawn", "blood gore and murder"


def train(directory: Path, labels: dict[str, list[str]], name: str, quantized: Path | None = None) -> Path:
    data = directory / f"{name}.txt"
    data.write_text("".join(f"__label__{label} {text}\n" for label, texts in labels.items() for text in texts * 5))
    path = directory / f"{name}.bin"
    model = fasttext.train_supervised(str(data), dim=8, epoch=40, lr=0.8, thread=1, verbose=0)
    model.save_model(str(path))
    if quantized:
        model.quantize(str(data), qnorm=True)
        model.save_model(str(quantized))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return train(tmp_path_factory.mktemp("safety"), {"safe": SAFE, "unsafe": UNSAFE}, "two")


def test_the_decisions():
    assert {decision.name: decision.value for decision in SafetyDecision} == {
        "ALLOW": "allow",
        "BLOCK": "block",
        "UNAVAILABLE": "unavailable",
    }
    assert SafetyResult("x", SafetyDecision.ALLOW) == SafetyResult("x", SafetyDecision.ALLOW, 0.0, None, None)


def test_allow_and_block(model):
    filter_ = PromptSafetyFilter(classifier_path=model)
    allowed, blocked = filter_.classify(PROMPT), filter_.classify(THREAT)
    assert (allowed.prompt, allowed.decision, allowed.label, allowed.reason) == (
        PROMPT,
        SafetyDecision.ALLOW,
        "safe",
        None,
    )
    assert (blocked.prompt, blocked.decision, blocked.label) == (THREAT, SafetyDecision.BLOCK, "unsafe")
    assert 0.5 < allowed.score <= 1
    assert 0.5 < blocked.score <= 1


def test_the_threshold_is_for_the_unsafe_label_whatever_its_rank(model):
    score = PromptSafetyFilter(classifier_path=model, block_threshold=0).classify(PROMPT)
    assert (score.decision, score.label) == (SafetyDecision.BLOCK, "unsafe")
    assert 0 < score.score < 0.5  # second in rank

    def decide(threshold: float) -> SafetyDecision:
        return PromptSafetyFilter(classifier_path=model, block_threshold=threshold).classify(PROMPT).decision

    assert decide(score.score) is SafetyDecision.BLOCK  # at the threshold
    assert decide(score.score + 1e-6) is SafetyDecision.ALLOW


def test_the_unsafe_label_among_many(tmp_path):
    many = {"violence": UNSAFE, "safe": SAFE, "unsafe": UNSAFE, "gore": UNSAFE}
    path = train(tmp_path, many, "many")
    result = PromptSafetyFilter(classifier_path=path, block_threshold=0.2).classify(THREAT)
    assert (result.decision, result.label) == (SafetyDecision.BLOCK, "unsafe")
    assert (
        PromptSafetyFilter(classifier_path=path, block_threshold=0.9).classify(THREAT).decision is SafetyDecision.ALLOW
    )


@pytest.mark.parametrize(
    "prompt",
    ["", "\n", " ", "a\nb\r\nc", "nul \0 byte", "lone \ud800 half", "🦊 лиса", "x" * 200_000, "\x85\u2028", "</s>"],
)
def test_any_text_is_scored(model, prompt):
    result = PromptSafetyFilter(classifier_path=str(model)).classify(prompt)
    assert result.decision in (SafetyDecision.ALLOW, SafetyDecision.BLOCK)
    assert result.prompt == prompt
    assert 0 < result.score <= 1


@pytest.mark.parametrize("break_", ["\n", "\r\n", "\0"])
def test_a_line_end_hides_nothing(model, break_):
    result = PromptSafetyFilter(classifier_path=model).classify(f"a fox{break_}{THREAT} {THREAT}")
    assert result.decision is SafetyDecision.BLOCK


class Scores:
    """Stands in for a loaded model."""

    def __init__(self, *scores: float) -> None:
        self.scores = scores

    def get_labels(self):
        return ["__label__unsafe", "__label__safe"]

    def predict(self, lines, k):
        assert k == -1
        return [self.get_labels()[: len(self.scores)]], [list(self.scores)]


@pytest.mark.parametrize(
    ("scores", "decision", "score"),
    [
        ((1.00003, 0.00001), SafetyDecision.BLOCK, 1.0),
        ((0.00001, 1.00003), SafetyDecision.ALLOW, 1.0),
        ((float("nan"), 0.9), SafetyDecision.UNAVAILABLE, 0.0),
        ((), SafetyDecision.UNAVAILABLE, 0.0),
    ],
)
def test_scores_are_probabilities(monkeypatch, scores, decision, score):
    monkeypatch.setattr(fasttext, "load_model", lambda path: Scores(*scores))
    result = PromptSafetyFilter(classifier_path="x").classify("a fox")
    assert (result.decision, result.score) == (decision, score)


def test_an_exception_while_scoring_is_no_verdict(model):
    filter_ = PromptSafetyFilter(classifier_path=model)
    result = filter_.classify(None)
    assert result.decision is SafetyDecision.UNAVAILABLE
    assert "could not score" in result.reason
    assert filter_.classify(PROMPT).decision is SafetyDecision.ALLOW


@pytest.mark.parametrize(("path", "enabled"), [(None, True), ("", True), ("model.bin", False), (None, False)])
def test_not_enabled(path, enabled):
    filter_ = PromptSafetyFilter(classifier_path=path, enabled=enabled)
    assert filter_.enabled is False
    result = filter_.classify(THREAT)
    assert result.decision is SafetyDecision.UNAVAILABLE
    assert result.reason


def test_enabled(model):
    assert PromptSafetyFilter(classifier_path=model).enabled is True


def broken_models(directory: Path) -> dict[str, Path]:
    garbage, empty = directory / "garbage", directory / "empty"
    garbage.write_bytes(b"no model at all" * 100)
    empty.touch()
    other = train(directory, {"good": SAFE, "bad": UNSAFE}, "other")
    return {"missing": directory / "none", "a folder": directory, "garbage": garbage, "empty": empty, "other": other}


def test_a_missing_or_broken_model(tmp_path):
    for name, path in broken_models(tmp_path).items():
        result = PromptSafetyFilter(classifier_path=path).classify(PROMPT)
        assert result.decision is SafetyDecision.UNAVAILABLE, name
        assert "could not be loaded" in result.reason, name


def test_a_model_cut_anywhere_is_refused(tmp_path, model):
    """fastText itself would crash the process on some of these files, and hang on others."""
    whole, cut = model.read_bytes(), tmp_path / "cut.bin"
    for length in [*range(100), *range(100, len(whole), 9), len(whole) - 1]:
        cut.write_bytes(whole[:length])
        filter_ = PromptSafetyFilter(classifier_path=cut)
        assert filter_.classify(PROMPT).decision is SafetyDecision.UNAVAILABLE, length


@pytest.mark.parametrize("setting", [5, 10])  # word n-grams, the longest part of a word
def test_a_model_that_would_make_fasttext_divide_by_zero_is_refused(tmp_path, model, setting):
    data, path = bytearray(model.read_bytes()), tmp_path / "broken.bin"
    for place, value in ((8, 0), (setting, 3)):
        struct.pack_into("<i", data, 8 + 4 * place, value)
    path.write_bytes(data)
    assert PromptSafetyFilter(classifier_path=path).classify(PROMPT).decision is SafetyDecision.UNAVAILABLE


def test_a_quantized_model(tmp_path):
    texts = {"safe": [f"calm {n} lake" for n in range(300)], "unsafe": [f"gore {n} blood" for n in range(300)]}
    path = tmp_path / "small.ftz"
    train(tmp_path, texts, "large", quantized=path)
    assert PromptSafetyFilter(classifier_path=path).classify("gore and blood").decision is SafetyDecision.BLOCK
    path.write_bytes(path.read_bytes()[:-1])
    assert PromptSafetyFilter(classifier_path=path).classify("calm lake").decision is SafetyDecision.UNAVAILABLE


def test_fasttext_missing(monkeypatch, model):
    monkeypatch.setitem(sys.modules, "fasttext", None)
    result = PromptSafetyFilter(classifier_path=model).classify(PROMPT)
    assert result.decision is SafetyDecision.UNAVAILABLE
    assert "fasttext-community" in result.reason


def test_a_failed_load_is_retried(tmp_path, model):
    now = 100.0
    path = tmp_path / "late.bin"
    filter_ = PromptSafetyFilter(classifier_path=path, clock=lambda: now)
    assert filter_.classify(PROMPT).decision is SafetyDecision.UNAVAILABLE
    shutil.copy(model, path)
    now += safety.RETRY_SECONDS - 0.1
    assert filter_.classify(PROMPT).decision is SafetyDecision.UNAVAILABLE
    now += 0.2
    assert filter_.classify(PROMPT).decision is SafetyDecision.ALLOW
    assert safety.RETRY_SECONDS < 10
    path.unlink()
    now += 1000
    assert filter_.classify(PROMPT).decision is SafetyDecision.ALLOW  # loaded once and kept


@pytest.mark.parametrize("works", [True, False])
def test_one_load_serves_all_threads_that_wait_for_it(monkeypatch, model, works):
    loads, go_on, load_model = [], threading.Event(), fasttext.load_model

    def slow_load(path: str):
        loads.append(path)
        assert go_on.wait(5)
        if not works:
            raise ValueError("broken")
        return load_model(path)

    monkeypatch.setattr(fasttext, "load_model", slow_load)
    filter_ = PromptSafetyFilter(classifier_path=model)
    with ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(filter_.classify, PROMPT) for _ in range(8)]
        assert not any(call.done() for call in calls)
        go_on.set()
        decisions = {call.result(5).decision for call in calls}
    assert decisions == {SafetyDecision.ALLOW if works else SafetyDecision.UNAVAILABLE}
    assert len(loads) == 1


def test_first_blocked(model):
    filter_ = PromptSafetyFilter(classifier_path=model)
    read = []

    def prompts():
        for prompt in (PROMPT, THREAT, "murder and torture"):
            read.append(prompt)
            yield prompt

    assert first_blocked(filter_, prompts()).prompt == THREAT
    assert read == [PROMPT, THREAT]
    assert first_blocked(filter_, [PROMPT]) is None
    assert first_blocked(filter_, []) is None
    assert first_blocked(PromptSafetyFilter(classifier_path=None), [THREAT]) is None  # no verdict, no block
