"""The classifier that ships: a fastText model under an explicit label map (classifier.py has the protocols).

Loading and scoring belong here. model.py calls fastText itself, manifests.py describes a model, guard.py decides.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from promptops.engine.safety.classifier import Probe, Reading, log_odds
from promptops.engine.safety.language import load_languages
from promptops.engine.safety.manifests import ModelSpec, read_manifest
from promptops.engine.safety.model import PREFIX, Once, get_labels, load_fasttext, predict
from promptops.engine.safety.normalize import load_tables, words
from promptops.engine.safety.repairs import HarmfulWords, listed_without_double
from promptops.engine.safety.turns import let_go
from promptops.engine.safety.verdicts import SafetyCategory
from promptops.engine.safety.windows import PADDED, SIZES, cut_windows, interleaved_places

LENGTH_DISCOUNT = 0.45
"""With more windows, it is likelier that one looks harmful by chance: each window's log-odds lose this much times the
logarithm of the number of windows."""
MOST_COUNTED = 60
"""More windows than these are not counted, so that long padding costs no more than 120 words."""
MOST_WORDS = 50_000
"""The words of a model, the most frequent first, among which harmful ones are looked for."""
HARMFUL_WEIGHT = -1.0
"""Log-odds above the threshold from which a single word counts as harmful."""
BOLD_SHARE, BOLD_WORDS = 0.25, 3
"""A text with more unknown words than this share of all, and no fewer than this number, is read boldly."""
ENOUGH_KNOWN, SAMPLE = 0.5, 40
"""If the model knows a smaller share than the first, this many unknown words show how many are only misspelled."""
BATCH = 16
"""Windows per call: fastText holds Python's lock during a call. The whole text has a call of its own."""
PARTS, DOUBTFUL = 2, -5.0
"""The second stage also reads this many windows of each size of a long text: the worst ones, of those whose height (the
distance over a threshold, in log-odds) is over the second number."""


class SafetyModel:
    """A fastText model that is loaded with its first use, once for all threads (a `ClassifierSource`).

    A loaded model gives every text the same scores as long as it lives, even if its file changes.
    """

    def __init__(self, spec: ModelSpec | Callable[[], ModelSpec], *, clock: Callable[[], float] = time.monotonic):
        self._spec = spec
        self._once = Once(self._load, clock)

    @classmethod
    def from_manifest(cls, path: str | os.PathLike[str]) -> SafetyModel:
        """Return the model of a manifest. Loading reads the manifest; a broken one makes the model unavailable."""
        return cls(lambda: read_manifest(path))

    @property
    def ready(self) -> bool:
        """True once the model is loaded."""
        return self._once.ready

    def get(self) -> tuple[LoadedModel | None, str | None]:
        """Return the loaded model, or None and the reason. Loads, and waits for a load in progress."""
        return self._once.get()

    def _load(self) -> LoadedModel:
        load_tables()
        load_languages()
        spec = self._spec() if callable(self._spec) else self._spec
        if spec.sha256:
            try:
                digest = hashlib.sha256(spec.path.read_bytes()).hexdigest()
            except OSError as exc:
                raise ValueError(f"{spec.path.name} cannot be read: {exc.strerror}") from None
            if digest != spec.sha256:
                raise ValueError(f"{spec.path.name} is not the file that its manifest describes")
        loaded = LoadedModel(spec, load_fasttext(os.fspath(spec.path), let_go))
        loaded.check_labels()
        loaded.check_thresholds()
        loaded.find_harmful_words(let_go)
        loaded.check_probes()
        return loaded


class LoadedModel:
    """A fastText model in memory (a `SafetyClassifier`)."""

    def __init__(self, spec: ModelSpec, model: Any) -> None:
        self.spec = spec
        self._model = model
        self._categories: dict[str, SafetyCategory | None] = {
            PREFIX + label: value for label, value in spec.labels.items()
        }
        self.categories = frozenset(value for value in spec.labels.values() if value)
        self._has_harmless = any(value is None for value in spec.labels.values())
        self._harmful = HarmfulWords({})
        self._reads_parts = model.f.getArgs().maxn > 0  # parts of words, so it knows something about every word

    @property
    def thresholds(self) -> Mapping[SafetyCategory, float]:
        """The thresholds that the model was released with."""
        return self.spec.thresholds

    @property
    def probes(self) -> Sequence[Probe]:
        """The texts that the self-test judges."""
        return self.spec.probes

    @property
    def english_only(self) -> bool:
        """True if the model cannot judge texts in other languages."""
        return self.spec.english_only

    def check_labels(self) -> None:
        """Raise `ValueError` unless every label of the model is mapped, and one of them to a category."""
        labels = get_labels(self._model)
        unmapped = sorted(label.removeprefix(PREFIX) for label in labels if label not in self._categories)
        if unmapped:
            raise ValueError(f"its labels {', '.join(unmapped)} are not mapped to a category; map each, or to harmless")
        if not {self._categories[label] for label in labels} - {None}:
            raise ValueError("none of its labels is mapped to a category, so it could block nothing")

    def check_thresholds(self) -> None:
        """Raise `ValueError` unless every threshold of the model is a number from 0 to 1."""
        for category, threshold in self.spec.thresholds.items():
            if not 0 <= threshold <= 1:
                raise ValueError(f"its threshold of {category} is {threshold}, not a number from 0 to 1")

    def check_probes(self) -> None:
        """Raise `ValueError` if the model scores a known harmful text no higher than a harmless one."""
        scores = {probe: self.read(words(probe.text)).scores for probe in self.spec.probes}
        for bad, bad_scores in scores.items():
            if bad.category not in self.categories:
                continue
            for good, good_scores in scores.items():
                if good.category is None and bad_scores[bad.category] <= good_scores[bad.category]:
                    raise ValueError(f'it failed its self-test: it scores "{bad.text}" no higher than "{good.text}"')

    def find_harmful_words(self, pause: Callable[[], object] = lambda: None) -> None:
        """Score each of the model's words alone, so that misspelled harmful ones are read (see repairs.py)."""
        if self._reads_parts or not self.spec.thresholds:
            return  # without a threshold, no word is over one
        words_of_model = self._model.get_words()[:MOST_WORDS]
        listed = [word for word in words_of_model if len(word) > 2 and word.isascii() and word.isalpha()]
        harmless_labels = [label for label, category in self._categories.items() if category is None]
        lowest = min(map(log_odds, self.spec.thresholds.values()))
        weights = {}
        for start in range(0, len(listed), BATCH):
            pause()
            batch = listed[start : start + BATCH]
            for word, label_scores in zip(batch, predict(self._model, batch), strict=True):
                harmless = sum(label_scores.get(label, 0.0) for label in harmless_labels)
                if log_odds(1 - harmless) - lowest < HARMFUL_WEIGHT:
                    continue  # no category's odds against harmless are higher than these
                weight = self._height(self._judge(label_scores, 0.0))
                if weight > HARMFUL_WEIGHT:
                    weights[word] = weight
        self._harmful = HarmfulWords(weights, pause)

    def _height(self, scores: Mapping[SafetyCategory, float]) -> float:
        """Return how far the worst category is over its threshold, in log-odds; -inf without a threshold."""
        limits = self.spec.thresholds
        return max((log_odds(scores[name]) - log_odds(limits[name]) for name in limits), default=-math.inf)

    def _doubtful_score(self) -> float:
        """Return the lowest score that is doubtful in any category; 1 without a threshold."""
        lowest = min(map(log_odds, self.spec.thresholds.values()), default=math.inf) + DOUBTFUL
        return 1 / (1 + math.exp(-lowest))

    def knows(self, text: Sequence[str]) -> float:
        """Return the share of the words with letters that the model knows; 1 if no word has letters.

        It knows a misspelled harmful word, and one with a doubled letter, too.
        """
        if self._reads_parts:
            return 1.0
        spelled = [word for word in text if not word.isdecimal()]
        unknown = [word for word in spelled if self._model.get_word_id(word) < 0]
        share = 1 - len(unknown) / len(spelled) if spelled else 1.0
        if share >= ENOUGH_KNOWN:
            return share
        sample = unknown[:SAMPLE]  # bounded, because this is one step
        return share + (1 - share) * sum(map(self._can_read, sample)) / len(sample)

    def read(
        self, text: Sequence[str], pause: Callable[[], object] = lambda: None, known_share: float = 0.0
    ) -> Reading:
        """Score the whole text and its windows; call `pause` between batches of them.

        Skips windows in which the model knows a smaller share of the words than `known_share`.
        """
        boldly = not known_share and self._is_misspelled(text, pause)
        known = []
        for word in text:
            pause()
            known.append(self._known(word, boldly))
        scores, windows = dict.fromkeys(self.categories, 0.0), dict.fromkeys(self.categories, " ".join(text))
        readings, others = [(text, known)], [" ".join(known)] if boldly and known != text else []
        if places := interleaved_places(known):
            readings.append(([text[at] for at in places], [known[at] for at in places]))
            others.append(" ".join(readings[1][0]))
        heights: dict[str, float] = {}
        floor = self._doubtful_score() if len(text) > PADDED else 1.0
        for line, score_of in self._score_readings(readings, pause, known_share):
            for category, score in score_of.items():
                if score > scores[category]:
                    scores[category], windows[category] = score, line
            if max(score_of.values()) > floor and (height := self._height(score_of)) > DOUBTFUL:
                heights[line] = max(height, heights.get(line, height))
        worst = sorted(heights, key=heights.__getitem__, reverse=True)
        parts = [line for size, _ in SIZES for line in [one for one in worst if one.count(" ") + 1 == size][:PARTS]]
        return Reading(scores, windows, tuple(others), tuple(parts))

    def _score_readings(
        self,
        readings: Sequence[tuple[Sequence[str], Sequence[str]]],
        pause: Callable[[], object],
        known_share: float,
    ) -> Iterator[tuple[str, dict[SafetyCategory, float]]]:
        for text, known in readings:
            lines, as_known = cut_windows(text), cut_windows(known)
            discount = LENGTH_DISCOUNT * math.log(min(len(lines), MOST_COUNTED))
            for start, end in ((0, 1), *((start, start + BATCH) for start in range(1, len(lines), BATCH))):
                pause()
                labels = predict(self._model, as_known[start:end])
                for line, label_scores in zip(lines[start:end], labels, strict=True):
                    if not known_share or self.knows(line.split()) >= known_share:
                        yield line, self._judge(label_scores, discount)

    def _can_read(self, word: str) -> bool:
        return self._harmful.read(word) != word or listed_without_double(word) is not None

    def _is_misspelled(self, text: Sequence[str], pause: Callable[[], object]) -> bool:
        """Return true if the model does not know many of the words with two letters or more."""
        spelled = [word for word in text if len(word) > 1 and not word.isdecimal()]
        unknown = 0
        for word in spelled:
            pause()
            unknown += self._model.get_word_id(word) < 0
        return unknown >= BOLD_WORDS and unknown > len(spelled) * BOLD_SHARE

    def _known(self, word: str, boldly: bool = False) -> str:
        """Return the word, or another form of it if the model knows only that: `beheaded` for `beheads`.

        Prompts describe scenes in the present tense, and a model has few forms of rare verbs among its words.
        """
        if self._reads_parts or (not boldly and self._model.get_word_id(word) >= 0):
            return word
        if self._model.get_word_id(word) >= 0:
            return self._harmful.read(word, boldly)
        if not word.isascii():
            return word
        forms = (form for form in inflections(word) if self._model.get_word_id(form) >= 0)
        return next(forms, None) or self._harmful.read(word, boldly)

    def weightiest(self, window: str, category: SafetyCategory, count: int = 3) -> tuple[str, ...]:
        """Return the words of a window that look worst by themselves, the worst first."""
        each = list(dict.fromkeys(window.split()))
        known = [self._known(word) for word in each]
        scores = [self._judge(labels, 0.0)[category] for labels in predict(self._model, known)] if each else []
        ranked = sorted(zip(scores, each, strict=True), key=lambda pair: -pair[0])
        return tuple(word for _, word in ranked[:count])

    def _judge(self, label_scores: Mapping[str, float], discount: float) -> dict[SafetyCategory, float]:
        """Return the probability of each category against harmless alone, so that two kinds of harm in one text do
        not lower each other's score."""
        totals: dict[SafetyCategory | None, float] = {}
        for label, score in label_scores.items():
            category = self._categories[label]
            totals[category] = totals.get(category, 0.0) + score
        harmless = totals.get(None, 0.0)
        judged = {}
        for category in self.categories:
            bad = totals.get(category, 0.0)
            good = harmless if self._has_harmless else 1.0 - bad
            odds = max(bad, 1e-6) / max(good, 1e-6) * math.exp(-discount)
            judged[category] = odds / (1.0 + odds)
        return judged


_ENDINGS = ("ing", "ed", "es", "er", "s", "d", "")


def inflections(word: str) -> list[str]:
    """Return other forms that an English verb or noun of at least four letters may have, likely and unlikely ones."""
    forms = []
    for ending in _ENDINGS:
        stem = word.removesuffix(ending)
        if not word.endswith(ending) or len(stem) < 4:
            continue
        stems = [stem, stem + "e"]
        if len(stem) > 4 and stem[-1] == stem[-2]:
            stems.append(stem[:-1])
        elif ending in ("s", ""):
            stems.append(stem + stem[-1])
        forms += [form for one in stems for form in (one, *(one + other for other in ("ed", "d", "s", "ing")))]
    return [form for form in dict.fromkeys(forms) if form != word]
