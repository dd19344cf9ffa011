"""From a rubric to a model with thresholds: train, quantize, calibrate, compare, release as a new version.

A fifth of the rubric, chosen by the texts' own hashes and so the same in every version, is never trained on: thresholds
are set and models compared on it.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import struct
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from promptops.engine.safety.guard import (
    SHIPPED,
    WINDOW,
    LoadedModel,
    ModelSpec,
    SafetyCategory,
    SafetyModel,
    cut_windows,
    log_odds,
    read_manifest,
)
from promptops.engine.safety.model import PREFIX
from promptops.engine.safety.normalize import words

RUBRIC = SHIPPED.parent / "rubric.tsv"
"""The rubric that comes with PromptOps."""
TARGET = 0.01
"""The share of the ordinary harmless held-out texts that thresholds may block."""
HARD = "hard_negative"
"""The kind of harmless texts that sound harmful. No threshold is set by them: real prompts are rarely like that."""
TOLERANCE = 0.01
"""How much lower a new model's figures may be; less than that is the noise of a few texts."""

HARMLESS = "safe"
_HARMFUL = "unsafe"
_HEADER = ["label", "category", "text"]
_DIMENSIONS, _PAIRS, _OWN_POINTS = 50, 25, 64
_LEARNING_RATE, _EPOCHS = 0.1, 15
_FEWEST = 20
"""Harmless held-out texts, and harmful ones, without which no threshold can be set."""
LABELS: dict[str, SafetyCategory | None] = {HARMLESS: None, **{category.value: category for category in SafetyCategory}}


class Step(StrEnum):
    """What a training is at, in this order."""

    NORMALIZE = "normalize"
    TRAIN = "train"
    QUANTIZE = "quantize"
    EVALUATE = "evaluate"
    THRESHOLDS = "thresholds"
    COMPARE = "compare"


Told = Callable[[Step], object]


class NotPromoted(Exception):
    """The new model is worse than the one in use, which stays; the message says by how much."""


@dataclass(frozen=True)
class Row:
    """A line of a rubric. `kind` is the category of a harmful text, and of a harmless one any word for its sort."""

    harmful: bool
    kind: str
    text: str

    @property
    def held_out(self) -> bool:
        """Whether the text is kept from training."""
        return hashlib.sha256(self.text.encode()).digest()[0] % 5 == 0

    @property
    def label(self) -> str:
        """The model's label for it."""
        return self.kind if self.harmful else HARMLESS


@dataclass(frozen=True)
class Metrics:
    """How a model does on the held-out texts, at thresholds that were set on them for a target.

    `over_block` is of the harmless texts but hard negatives, which have their own: they are there to be hard.
    """

    harmless: int
    harmful: int
    auroc: float
    over_block: float
    over_block_hard: float
    recall: float
    recall_by_category: dict[str, float]


@dataclass(frozen=True)
class Trained:
    """What came of a training: the version's manifest, its figures, and those of the model that was in use before."""

    manifest: Path
    version: str
    metrics: Metrics
    before: Metrics | None
    changed: bool


def read_rubric(path: str | os.PathLike[str], pause: Callable[[], object] = lambda: None) -> list[Row]:
    """The rows of a rubric (tab-separated: label, category, text); `ValueError` names the line that is wrong.

    `pause` is called between the steps of reading each text.
    """
    rows, seen = [], set()
    with open(path, encoding="utf-8", newline="") as file:
        lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if next(lines, None) != _HEADER:
            raise ValueError("The first line of a rubric is: label, category, text (with tabs between them)")
        for number, line in enumerate(lines, start=2):
            if len(line) != len(_HEADER):
                raise ValueError(f"Line {number} of the rubric has {len(line)} columns; it needs {len(_HEADER)}")
            label, kind, text = line
            if label not in (HARMLESS, _HARMFUL):
                raise ValueError(f'Line {number} of the rubric: the label is "{label}"; it must be safe or unsafe')
            if label == _HARMFUL and kind not in LABELS.keys() - {HARMLESS}:
                raise ValueError(
                    f'Line {number} of the rubric: "{kind}" is no category; use {", ".join(SafetyCategory)}'
                )
            plain = " ".join(words(text, pause))
            if not plain or plain in seen:
                raise ValueError(
                    f"Line {number} of the rubric has no words"
                    if not plain
                    else f"Line {number} of the rubric repeats another"
                )
            seen.add(plain)
            rows.append(Row(label == _HARMFUL, kind, text))
    return rows


def train(
    rubric: str | os.PathLike[str] = RUBRIC,
    folder: str | os.PathLike[str] = SHIPPED,
    *,
    target: float = TARGET,
    promote_worse: bool = False,
    told: Told = lambda step: None,
) -> Trained:
    """Train on the rubric, write a new version into `folder` and make it current. `told` hears of every step.

    Raises `NotPromoted` when it is worse on the held-out texts than the current model (of the folder, else the one
    that comes with PromptOps); the version is written all the same and `promote()` can still choose it.
    """
    told(Step.NORMALIZE)
    rows, folder = read_rubric(rubric), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    held = [row for row in rows if row.held_out]
    for sort, count in Counter(row.harmful for row in held if row.harmful or row.kind != HARD).items():
        if count < _FEWEST:
            raise ValueError(
                f"The rubric holds out {count} {'harmful' if sort else 'harmless'} texts; {_FEWEST} are needed"
            )
    if {row.harmful for row in held} != {True, False}:
        raise ValueError("The rubric needs harmful and harmless texts")
    data = fit([row for row in rows if not row.held_out], told)
    digest = hashlib.sha256(data).hexdigest()
    current = current_manifest(folder)
    told(Step.EVALUATE)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        candidate = Path(scratch) / "candidate.ftz"
        candidate.write_bytes(data)
        used = {row.label for row in rows if not row.held_out}
        labels = {label: category for label, category in LABELS.items() if label in used}
        scores = _score(_load(ModelSpec(candidate, labels)), held)
    spec = read_manifest(current) if current else None
    old, _ = SafetyModel(spec).get() if spec else (None, None)
    old_scores = _score(old, held) if old else None
    told(Step.THRESHOLDS)
    thresholds, metrics = _pick(scores, held, target)
    before = _pick(old_scores, held, target)[1] if old_scores else None
    if spec and current and spec.sha256 == digest and spec.thresholds == thresholds and current.parent == folder:
        return Trained(current, spec.version, metrics, metrics, changed=False)
    description = {
        "labels": labels,
        "sha256": digest,
        "thresholds": thresholds,
        "target_over_block": target,
        "rubric_sha256": hashlib.sha256(Path(rubric).read_bytes()).hexdigest(),
        "texts": len(rows),
        "held_out": vars(metrics),
    }
    manifest = _write_version(folder, data, description)
    version = read_manifest(manifest).version
    if before and not promote_worse and (worse := worse_than(metrics, before)):
        raise NotPromoted(f"Version {version} is worse on the held-out texts ({worse}), so it is not used")
    promote(manifest)
    return Trained(manifest, version, metrics, before, changed=True)


def worse_than(metrics: Metrics, before: Metrics) -> str:
    """In what the figures are worse than those before, by more than the noise; "" when in nothing.

    A single held-out text that is missed is noise, too.
    """
    one_text = 1.01 / max(1, before.harmful)
    return ", ".join(
        f"{name} {getattr(metrics, field):.3f} instead of {getattr(before, field):.3f}"
        for name, field, noise in (("AUROC", "auroc", TOLERANCE), ("recall", "recall", max(TOLERANCE, one_text)))
        if getattr(metrics, field) < getattr(before, field) - noise
    )


def promote(manifest: str | os.PathLike[str]) -> None:
    """Make the version of this manifest its folder's current one; `ValueError` when it cannot be used."""
    manifest = Path(manifest)
    _load(read_manifest(manifest))
    _write(manifest.parent / "current.json", manifest.read_bytes())


def current_manifest(folder: str | os.PathLike[str]) -> Path | None:
    """The manifest of the model in use: the folder's, else the one that comes with PromptOps."""
    found = (path / "current.json" for path in (Path(folder), SHIPPED))
    return next((path for path in found if path.exists()), None)


def _score(model: LoadedModel, rows: Sequence[Row]) -> list[dict[SafetyCategory, float]]:
    return [model.read(words(row.text)).scores for row in rows]


def _pick(
    scores: Sequence[Mapping[SafetyCategory, float]], rows: Sequence[Row], target: float
) -> tuple[dict[SafetyCategory, float], Metrics]:
    """Thresholds that block at most `target` of the ordinary harmless rows, and the model's figures at them.

    All thresholds lie the same number of standard deviations above what harmless texts get in their category.
    """
    categories = sorted(scores[0])
    odds = np.array([[log_odds(found[category]) for category in categories] for found in scores])
    harmful = np.array([row.harmful for row in rows])
    hard = np.array([row.kind == HARD and not row.harmful for row in rows])
    ordinary = ~harmful & ~hard
    center, spread = odds[ordinary].mean(0), odds[ordinary].std(0) + 1e-9
    ranked = np.sort(((odds - center) / spread).max(1)[ordinary])[::-1]
    limit = ranked[math.floor(target * len(ranked))] + 1e-6
    thresholds = {
        category: round(float(1 / (1 + math.exp(-(center[i] + limit * spread[i])))), 6)
        for i, category in enumerate(categories)
    }
    blocked = np.array([any(found[c] >= thresholds[c] for c in categories) for found in scores])
    margins = np.array([margin(found, thresholds) for found in scores])
    by_category = {
        category.value: round(float(blocked[where].mean()), 4)
        for category in categories
        if (where := [i for i, row in enumerate(rows) if row.harmful and row.kind == category])
    }
    return thresholds, Metrics(
        harmless=int((~harmful).sum()),
        harmful=int(harmful.sum()),
        auroc=round(auroc(margins[harmful], margins[~harmful]), 4),
        over_block=round(float(blocked[ordinary].mean()), 4),
        over_block_hard=round(float(blocked[hard].mean()) if hard.any() else 0.0, 4),
        recall=round(float(blocked[harmful].mean()), 4),
        recall_by_category=by_category,
    )


def margin(scores: Mapping[SafetyCategory, float], thresholds: Mapping[SafetyCategory, float]) -> float:
    """How far over its threshold (under, when negative) the worst category is, in log-odds."""
    return max(log_odds(scores[category]) - log_odds(thresholds[category]) for category in scores)


def auroc(harmful: Any, harmless: Any) -> float:
    """The chance that a harmful text scores higher than a harmless one; ties count half."""
    ranked = np.sort(np.asarray(harmless))
    lower, upper = np.searchsorted(ranked, harmful, "left"), np.searchsorted(ranked, harmful, "right")
    return float((lower + upper).mean() / 2 / len(ranked))


def _load(spec: ModelSpec) -> LoadedModel:
    model, failure = SafetyModel(spec).get()
    if model is None:
        raise ValueError(failure)
    return model


def fit(rows: Sequence[Row], told: Told = lambda step: None) -> bytes:
    """A quantized fastText model trained on the rows: the file's bytes, the same for the same rows.

    fastText trains with the vectors of the rubric's own words only and the rest are added here: words that no text
    has do not change in training, and fastText's own quantizing takes half a minute for them.
    """
    import fasttext

    texts = []
    for row in rows:
        found = words(row.text)
        windows = cut_windows(found)
        texts += [f"{PREFIX}{row.label} {line}\n" for line in (windows if len(found) <= WINDOW else windows[1:])]
    # Mixed well, whatever the order of the rubric; one after the other the kinds would drown each other.
    texts.sort(key=lambda line: hashlib.sha256(line.encode()).digest())
    vocabulary, centers, codes = _vectors()
    own = {word for line in texts for word in line.split()[1:]}
    with tempfile.TemporaryDirectory() as scratch:
        data, vectors, model = (Path(scratch) / name for name in ("texts.txt", "vectors.vec", "model.bin"))
        data.write_text("".join(texts), encoding="utf-8")
        known = [index for index, word in enumerate(vocabulary) if word in own]
        with vectors.open("w", encoding="utf-8") as file:
            file.write(f"{len(known)} {_DIMENSIONS}\n")
            for index, vector in zip(known, _decode(centers, codes[known]), strict=True):
                file.write(f"{vocabulary[index]} {' '.join(f'{value:.5f}' for value in vector)}\n")
        told(Step.TRAIN)
        fasttext.train_supervised(
            str(data),
            dim=_DIMENSIONS,
            lr=_LEARNING_RATE,
            epoch=_EPOCHS,
            wordNgrams=1,
            minn=0,
            maxn=0,
            minCount=1,
            loss="softmax",
            thread=1,
            pretrainedVectors=str(vectors),
            verbose=0,
        ).save_model(str(model))
        told(Step.QUANTIZE)
        return _quantized(model.read_bytes(), vocabulary, centers, codes)


def _vectors() -> tuple[list[str], Any, Any]:
    """The pretrained words, the points that their vectors are made of (pair of dimensions, point, 2), and which."""
    vocabulary = (SHIPPED.parent / "words.txt").read_text(encoding="utf-8").split()
    with np.load(SHIPPED.parent / "vectors.npz") as stored:
        return vocabulary, stored["centroids"], stored["codes"]


def _decode(centers: Any, codes: Any) -> Any:
    return np.concatenate([centers[pair][codes[:, pair]] for pair in range(_PAIRS)], axis=1)


def _quantized(data: bytes, vocabulary: Sequence[str], centers: Any, codes: Any) -> bytes:
    """fastText's file `data` with the other pretrained words added and its word vectors quantized.

    The pretrained vectors keep their points; the trained ones get points of their own beside them. (The layout is that
    of fastText 0.9: `Dictionary::save`, `QMatrix::save`.)
    """
    header, at = data[:64], 64
    _, word_count, label_count, tokens, _ = struct.unpack_from("<3i2q", data, at)
    at += 28
    entries, names = [], []
    for _ in range(word_count + label_count):
        end = data.index(b"\0", at)
        names.append(data[at:end].decode())
        entries.append(data[at : end + 10])  # the word, a NUL, its count and its kind
        at = end + 10
    at += 1  # "not quantized"
    rows, columns = struct.unpack_from("<2q", data, at)
    at += 16
    trained = np.frombuffer(data, "<f4", rows * columns, at).reshape(rows, columns)
    output = data[at + rows * columns * 4 + 1 :]
    own = set(names)
    extra = [index for index, word in enumerate(vocabulary) if word not in own]
    points, places = [], []
    for pair in range(_PAIRS):
        values = trained[:, 2 * pair : 2 * pair + 2].astype(np.float64)
        both = np.concatenate([centers[pair].astype(np.float64), _cluster(values)])
        places.append(np.concatenate([_nearest(values, both), codes[extra, pair]]))
        points.append(both)
    total = word_count + len(extra)
    added = b"".join(vocabulary[index].encode() + b"\0" + struct.pack("<qb", 1, 0) for index in extra)
    packed = np.stack(places, axis=1).astype(np.uint8).tobytes()
    return b"".join(
        [
            header,
            struct.pack("<3i2q", total + label_count, total, label_count, tokens, -1),
            *entries[:word_count],
            added,
            *entries[word_count:],
            b"\1",
            struct.pack("<?2qi", False, total, columns, len(packed)),
            packed,
            struct.pack("<4i", columns, _PAIRS, 2, 2),
            np.stack(points).astype("<f4").tobytes(),
            b"\0",
            output,
        ]
    )


def _cluster(values: Any) -> Any:
    """Points that stand for the values (k-means from evenly spread beginnings, so the same every time)."""
    order = np.lexsort((values[:, 1], values[:, 0]))
    points = values[order[np.linspace(0, len(order) - 1, _OWN_POINTS).astype(int)]].copy()
    for _ in range(10):
        nearest = _nearest(values, points)
        counts = np.bincount(nearest, minlength=_OWN_POINTS)
        for axis in (0, 1):
            sums = np.bincount(nearest, weights=values[:, axis], minlength=_OWN_POINTS)
            points[:, axis] = np.where(counts > 0, sums / np.maximum(counts, 1), points[:, axis])
    return points


def _nearest(values: Any, points: Any) -> Any:
    return ((points**2).sum(1) - 2 * values @ points.T).argmin(1)


def _write_version(folder: Path, data: bytes, description: Mapping[str, Any]) -> Path:
    """Write the model and its manifest under the next number that is free; returns the manifest."""
    taken = [int(path.stem.removeprefix("model-")) for path in folder.glob("model-*.ftz") if path.stem[6:].isdecimal()]
    number = max(taken, default=0) + 1
    while True:
        model = folder / f"model-{number}.ftz"
        try:
            _write(model, data, new=True)
            break
        except FileExistsError:  # another training was faster
            number += 1
    manifest = model.with_suffix(".json")
    full = {"version": str(number), "file": model.name, **description}
    _write(manifest, (json.dumps(full, indent=1) + "\n").encode())
    return manifest


def _write(path: Path, data: bytes, *, new: bool = False) -> None:
    """Write the whole file or nothing; `new` raises `FileExistsError` rather than replace one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        if new:
            os.link(name, path)
        else:
            os.replace(name, path)
            name = ""
    finally:
        if name:
            os.unlink(name)
