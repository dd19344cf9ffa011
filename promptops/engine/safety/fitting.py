"""Fitting a fastText model: training it on rows, and quantizing the result into a small file.

The rows come from rubric.py. Thresholds, versions and files of versions belong to training.py.
"""

from __future__ import annotations

import hashlib
import struct
import tempfile
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from promptops.engine.safety.fasttext_classifier import WINDOW, cut_windows
from promptops.engine.safety.manifests import SHIPPED
from promptops.engine.safety.model import PREFIX
from promptops.engine.safety.normalize import words
from promptops.engine.safety.rubric import Row

_DIMENSIONS, _PAIRS, _OWN_POINTS = 50, 25, 64
_LEARNING_RATE, _EPOCHS = 0.1, 15


class Step(StrEnum):
    """The steps of a training, in this order."""

    NORMALIZE = "normalize"
    TRAIN = "train"
    QUANTIZE = "quantize"
    EVALUATE = "evaluate"
    THRESHOLDS = "thresholds"
    COMPARE = "compare"


OnStep = Callable[[Step], object]
"""Called with each step as it begins."""


def fit(rows: Sequence[Row], on_step: OnStep = lambda step: None) -> bytes:
    """Train on the rows and return the bytes of the quantized fastText model, the same for the same rows.

    fastText trains with the vectors of the rubric's own words only; this function adds the rest. Words that no text has
    do not change in training, and fastText's own quantizing would take half a minute for them.
    """
    import fasttext

    texts = []
    for row in rows:
        row_words = words(row.text)
        windows = cut_windows(row_words)
        texts += [f"{PREFIX}{row.label} {line}\n" for line in (windows if len(row_words) <= WINDOW else windows[1:])]
    # Shuffled, always in the same way: if all texts of a kind came together, the last kind would dominate.
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
        on_step(Step.TRAIN)
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
        on_step(Step.QUANTIZE)
        return _quantized(model.read_bytes(), vocabulary, centers, codes)


def _vectors() -> tuple[list[str], Any, Any]:
    """Return the pretrained words, the points of vectors (pair of dimensions, point, 2), and each word's points."""
    vocabulary = (SHIPPED.parent / "words.txt").read_text(encoding="utf-8").split()
    with np.load(SHIPPED.parent / "vectors.npz") as stored:
        return vocabulary, stored["centroids"], stored["codes"]


def _decode(centers: Any, codes: Any) -> Any:
    return np.concatenate([centers[pair][codes[:, pair]] for pair in range(_PAIRS)], axis=1)


def _quantized(data: bytes, vocabulary: Sequence[str], centers: Any, codes: Any) -> bytes:
    """Return fastText's file `data` with the other pretrained words added and its word vectors quantized.

    The pretrained vectors keep their points; the trained ones get additional points. (The layout is that of fastText
    0.9: `Dictionary::save`, `QMatrix::save`.)
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
    """Return points that represent the values (k-means from evenly spread starts, so always the same)."""
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
