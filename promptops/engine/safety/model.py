"""fastText model files: checking and loading them once for all threads, and every call to fastText itself.

What a model's labels mean belongs to filter.py and fasttext_classifier.py.
"""

from __future__ import annotations

import math
import os
import struct
import threading
import time
from collections.abc import Callable, Sequence
from mmap import ACCESS_READ, mmap
from typing import Any, Generic, TypeVar

RETRY_SECONDS = 5.0
"""Seconds from a failed load to the next try; the engine contract allows 10 s."""

MAGIC = (793712314).to_bytes(4, "little")
"""The first bytes of every fastText model file."""

PREFIX = "__label__"

T = TypeVar("T")


NOT_INSTALLED = "The safety filter needs the package fasttext-community, which is not installed"


class Once(Generic[T]):
    """The result of `load()`. The first thread that needs it calls `load()`, and all others wait for the result.

    `RETRY_SECONDS` after a failure, the next thread that needs the result tries again. `clock` returns seconds and only
    moves forward. `missing` is the reason if a package is not installed.
    """

    def __init__(
        self, load: Callable[[], T], clock: Callable[[], float] = time.monotonic, missing: str = NOT_INSTALLED
    ) -> None:
        self._load = load
        self._missing = missing
        self._clock = clock
        self._lock = threading.Lock()
        self._result: T | None = None
        self._failure: str | None = None
        self._failed_at = 0.0

    @property
    def ready(self) -> bool:
        """True if the next `get()` returns at once, without loading or waiting."""
        return self._result is not None

    @property
    def failure(self) -> str | None:
        """The reason why the last load failed; None if none has failed."""
        return self._failure

    def get(self) -> tuple[T | None, str | None]:
        """Return the result, or None and the reason."""
        if self._result is not None:
            return self._result, None
        with self._lock:
            recent = self._failure is not None and self._clock() - self._failed_at < RETRY_SECONDS
            if self._result is None and not recent:
                try:
                    self._result, self._failure = self._load(), None
                except ImportError:
                    self._failure = self._missing
                except Exception as exc:  # fastText reports a broken file in many ways
                    self._failure = f"The safety filter's model could not be loaded: {exc}"
                self._failed_at = self._clock()
            return self._result, self._failure


def load_fasttext(path: str, pause: Callable[[], object] = lambda: None) -> Any:
    """Load the model in the file. Raises `ValueError` if it is not a whole model, `ImportError` without fastText.

    `pause` is called between the steps of checking the file; fastText then reads it in one call.
    """
    import fasttext

    check_complete(path, pause)
    pause()
    return fasttext.load_model(path)


def get_labels(model: Any) -> list[str]:
    """Return the model's labels with their prefix; none for a stand-in that can only predict."""
    return list(getattr(model, "get_labels", list)())


def predict(model: Any, lines: Sequence[str]) -> list[dict[str, float]]:
    """Return the probability of every label for each line, which must be valid UTF-8 without line ends.

    Raises `ValueError` if the model gives no probabilities. fastText returns slightly more than 1 if it is very sure.
    """
    labels, probabilities = model.predict(list(lines), k=-1)
    scored = []
    for names, values in zip(labels, probabilities, strict=True):
        scores = {name: float(value) for name, value in zip(names, values, strict=True)}
        if not scores or any(math.isnan(score) for score in scores.values()):
            raise ValueError("the model gave no probabilities")
        scored.append({name: min(1.0, score) for name, score in scores.items()})
    return scored


def check_complete(path: str, pause: Callable[[], object] = lambda: None) -> None:
    """Raise `ValueError` if the file begins like a fastText model but does not have all of its parts.

    fastText divides by zero or reads forever on a model that was cut short (for example during a copy) or whose
    settings contradict each other, and the process dies with it. So this check walks the file's layout (fastText 0.9,
    `FastText::loadModel`) before fastText loads it. If a file has fewer than four bytes, fastText uses memory that is
    left over from before, so empty files and folders are refused, too. All other files are left to fastText.
    """
    if not os.path.exists(path):
        return
    if not os.path.isfile(path) or os.path.getsize(path) < len(MAGIC):
        raise ValueError("it is not a fastText model")
    with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        if data[: len(MAGIC)] != MAGIC:
            return
        try:
            _Layout(data).walk(pause)
        except (ValueError, struct.error):
            raise ValueError("it is not a whole fastText model") from None


class _Layout:
    """Walks through a model file from part to part; raises `ValueError` or `struct.error` at a part that is missing."""

    def __init__(self, data: mmap) -> None:
        self._data = data

    def walk(self, pause: Callable[[], object]) -> None:
        _, _, *whole_numbers, _ = self._read("2i12id")  # magic, version, and the settings
        word_ngrams, buckets, longest_part = whole_numbers[5], whole_numbers[8], whole_numbers[10]
        if buckets < 1 and (word_ngrams > 1 or longest_part > 0):
            raise ValueError  # fastText divides by the number of buckets
        entries, _, _, _, pruned = self._read("3i2q")
        at = self._data.tell()
        for entry in range(entries):
            end = self._data.find(b"\0", at)  # of the word; its count and kind follow
            if end < 0:
                raise ValueError
            at = end + 10
            if entry % 100 == 0:
                pause()
        self._data.seek(at + max(0, pruned) * 8)
        (is_quantized,) = self._read("?")
        self._skip_matrix(is_quantized)
        (is_output_quantized,) = self._read("?")
        self._skip_matrix(is_quantized and is_output_quantized)

    def _read(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{layout}", self._data.read(struct.calcsize(f"<{layout}")))

    def _skip(self, count: int) -> None:
        if count < 0:
            raise ValueError
        self._data.seek(count, os.SEEK_CUR)  # raises ValueError beyond the end

    def _skip_quantizer(self) -> None:
        dimensions, *_ = self._read("4i")
        self._skip(dimensions * 256 * 4)

    def _skip_matrix(self, is_quantized: bool) -> None:
        if not is_quantized:
            rows, columns = self._read("2q")
            self._skip(rows * columns * 4)
            return
        has_norms, rows, _, code_size = self._read("?2qi")
        self._skip(code_size)
        self._skip_quantizer()
        if has_norms:
            self._skip(rows)
            self._skip_quantizer()
