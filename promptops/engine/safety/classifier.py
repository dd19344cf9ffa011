"""The seam for classifiers: what the guard needs of one, and how scores compare with thresholds.

`SafetyGuard` knows these two protocols only, as the chain knows providers by theirs. A classifier that is not fastText
is one class with `SafetyClassifier`'s members, and one with `ClassifierSource`'s that loads it. fasttext_classifier.py
is the classifier that ships. No classifier's own code belongs here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from promptops.engine.safety.verdicts import SafetyCategory


@dataclass(frozen=True)
class Probe:
    """A text that every classifier must get right at startup: harmful in a category, or harmless (None)."""

    text: str
    category: SafetyCategory | None


@dataclass(frozen=True)
class Reading:
    """A classifier's view of a text: the score of each category, and the window (words) that got that score.

    `readings` and `parts` are for the second stage, as in `SafetyVerdict`.
    """

    scores: dict[SafetyCategory, float]
    windows: dict[SafetyCategory, str]
    readings: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


class SafetyClassifier(Protocol):
    """A classifier in memory. It scores normalized words (`normalize.words`) and may be called from several threads."""

    @property
    def categories(self) -> frozenset[SafetyCategory]:
        """The categories that it scores."""

    @property
    def thresholds(self) -> Mapping[SafetyCategory, float]:
        """The thresholds that it was released with. They hold for a guard without a policy."""

    @property
    def probes(self) -> Sequence[Probe]:
        """The texts that the guard's self-test judges; may be empty."""

    @property
    def english_only(self) -> bool:
        """True if it cannot judge a text that `foreign_language` recognizes."""

    def knows(self, text: Sequence[str]) -> float:
        """Return the share (0 to 1) of the words that it knows."""

    def read(
        self, text: Sequence[str], pause: Callable[[], object] = lambda: None, known_share: float = 0.0
    ) -> Reading:
        """Score the words. Call `pause` between steps, and skip windows with a smaller share of known words."""

    def weightiest(self, window: str, category: SafetyCategory, count: int = 3) -> tuple[str, ...]:
        """Return the words of a window that look worst by themselves, the worst first."""


class ClassifierSource(Protocol):
    """The way to a classifier: loads it with the first use, once for all threads."""

    @property
    def ready(self) -> bool:
        """True once the classifier is loaded."""

    def get(self) -> tuple[SafetyClassifier | None, str | None]:
        """Return the loaded classifier, or None and the reason. Loads, and waits for a load in progress."""


Name = TypeVar("Name", bound=str)


def log_odds(score: float) -> float:
    """Return a probability as log-odds, which still tell scores near 1 apart."""
    score = min(max(score, 1e-9), 1 - 1e-9)
    return math.log(score / (1 - score))


def worst_of(scores: Mapping[Name, float], thresholds: Mapping[Name, float]) -> Name | None:
    """Return the category that exceeds its threshold by most or, if none does, comes closest; None without any.

    The comparison is in log-odds: with several scores near 1, the plain difference would always name the category with
    the lowest threshold.
    """

    def height(name: Name) -> tuple[bool, float]:
        score, threshold = scores[name], thresholds[name]
        return score >= threshold, log_odds(score) - log_odds(threshold)

    return max((name for name in scores if name in thresholds), key=height, default=None)
