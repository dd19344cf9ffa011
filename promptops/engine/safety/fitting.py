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

from promptops.engine.safety.manifests import SHIPPED
from promptops.engine.safety.model import PREFIX
from promptops.engine.safety.normalize import words
from promptops.engine.safety.rubric import Row
from promptops.engine.safety.windows import WINDOW, cut_windows

_OWN_POINTS = 64
_BLOCK = 512
"""Values whose distances are computed at once: with all values at once they would not fit in the processor's cache,
which takes nine times as long."""
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


class Fitter:
    """Fits models for one training; its texts and vectors are prepared once for all of them."""

    def __init__(self) -> None:
        self._vocabulary, self._centers, self._codes = _vectors()
        self._places = {word: place for place, word in enumerate(self._vocabulary)}
        self._vector_lines: dict[str, str] = {}
        self._texts: dict[Row, list[str]] = {}

    def fit(self, rows: Sequence[Row], on_step: OnStep = lambda step: None) -> bytes:
        """Train on the rows and return the bytes of the quantized fastText model, the same for the same rows.

        fastText trains with the vectors of the rubric's own words only; this function adds the rest. Words that no text
        has do not change in training, and fastText's own quantizing would take half a minute for them.
        """
        import fasttext

        texts = [line for row in rows for line in self._lines(row)]
        # Shuffled, always in the same way: if all texts of a kind came together, the last kind would dominate.
        texts.sort(key=lambda line: hashlib.sha256(line.encode()).digest())
        own = {word for line in texts for word in line.split()[1:]}
        known = sorted(self._places[word] for word in own if word in self._places)
        with tempfile.TemporaryDirectory() as scratch:
            data, vectors, model = (Path(scratch) / name for name in ("texts.txt", "vectors.vec", "model.bin"))
            data.write_text("".join(texts), encoding="utf-8")
            with vectors.open("w", encoding="utf-8") as file:
                file.write(f"{len(known)} {2 * len(self._centers)}\n")
                file.writelines(self._vector_line(self._vocabulary[place]) for place in known)
            on_step(Step.TRAIN)
            fasttext.train_supervised(
                str(data),
                dim=2 * len(self._centers),
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
            return _quantized(model.read_bytes(), self._vocabulary, self._centers, self._codes)

    def _lines(self, row: Row) -> list[str]:
        """Return the row as lines that fastText trains on: its whole text or, if it is long, the text's windows."""
        if row not in self._texts:
            row_words = words(row.text)
            windows = cut_windows(row_words)
            lines = windows if len(row_words) <= WINDOW else windows[1:]
            self._texts[row] = [f"{PREFIX}{row.label} {line}\n" for line in lines]
        return self._texts[row]

    def _vector_line(self, word: str) -> str:
        """Return the line of the word in a file of pretrained vectors."""
        if word not in self._vector_lines:
            codes = self._codes[self._places[word]]
            vector = np.concatenate([points[code] for points, code in zip(self._centers, codes, strict=True)])
            self._vector_lines[word] = f"{word} {' '.join(f'{value:.5f}' for value in vector.tolist())}\n"
        return self._vector_lines[word]


def _vectors() -> tuple[list[str], Any, Any]:
    """Return the pretrained words, the points of vectors (pair of dimensions, point, 2), and each word's points."""
    vocabulary = (SHIPPED.parent / "words.txt").read_text(encoding="utf-8").split()
    with np.load(SHIPPED.parent / "vectors.npz") as stored:
        return vocabulary, stored["centroids"], stored["codes"]


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
    for pair in range(len(centers)):
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
            struct.pack("<4i", columns, len(centers), 2, 2),
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
    """Return the index of the nearest point for each value."""
    squares, turned = (points**2).sum(1), points.T
    blocks = (values[start : start + _BLOCK] for start in range(0, len(values), _BLOCK))
    return np.concatenate([(squares - 2 * block @ turned).argmin(1) for block in blocks])
