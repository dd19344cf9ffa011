"""fastText model files: loading them once for all threads, and everything that is said to fastText itself."""

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
"""How long a failed load is remembered before the next call tries again; the engine contract allows 10 s."""

MAGIC = (793712314).to_bytes(4, "little")
"""What every fastText model file begins with."""

PREFIX = "__label__"

T = TypeVar("T")


class Once(Generic[T]):
    """The result of `load()`, which is called by the first thread that asks while all others wait for its result.

    After a failure it is called again by the first who asks `RETRY_SECONDS` later; `clock` gives seconds and only ever
    moves forward.
    """

    def __init__(self, load: Callable[[], T], clock: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._clock = clock
        self._lock = threading.Lock()
        self._result: T | None = None
        self._failure: str | None = None
        self._failed_at = 0.0

    @property
    def ready(self) -> bool:
        """Whether the next `get()` has its answer at once, without loading or waiting."""
        return self._result is not None

    def get(self) -> tuple[T | None, str | None]:
        """The result, or the reason why there is none."""
        if self._result is not None:
            return self._result, None
        with self._lock:
            recent = self._failure is not None and self._clock() - self._failed_at < RETRY_SECONDS
            if self._result is None and not recent:
                try:
                    self._result, self._failure = self._load(), None
                except ImportError:
                    self._failure = "The safety filter needs the package fasttext-community, which is not installed"
                except Exception as exc:  # fastText reports a broken file in many ways
                    self._failure = f"The safety filter's model could not be loaded: {exc}"
                self._failed_at = self._clock()
            return self._result, self._failure


def load_fasttext(path: str, pause: Callable[[], object] = lambda: None) -> Any:
    """The model in the file; raises `ValueError` when the file is not a whole model, `ImportError` without fastText.

    `pause` is called between the steps of looking at the file; fastText then reads it in one go.
    """
    import fasttext

    check_complete(path, pause)
    pause()
    return fasttext.load_model(path)


def get_labels(model: Any) -> list[str]:
    """The model's labels with their prefix; none for a stand-in that can only predict."""
    return list(getattr(model, "get_labels", list)())


def predict(model: Any, lines: Sequence[str]) -> list[dict[str, float]]:
    """The probability of every label for each line, which must be valid UTF-8 without line ends.

    Raises `ValueError` when the model gives no probabilities. fastText returns a little over 1 for the very certain.
    """
    labels, probabilities = model.predict(list(lines), k=-1)
    found = []
    for names, values in zip(labels, probabilities, strict=True):
        scores = {name: float(value) for name, value in zip(names, values, strict=True)}
        if not scores or any(math.isnan(score) for score in scores.values()):
            raise ValueError("the model gave no probabilities")
        found.append({name: min(1.0, score) for name, score in scores.items()})
    return found


def check_complete(path: str, pause: Callable[[], object] = lambda: None) -> None:
    """Raise `ValueError` when the file begins like a fastText model but does not have all of its parts.

    A model that was cut short, as by a copy under way, makes fastText divide by zero or read for ever, which takes
    the process down with it, and so does one whose settings do not fit each other; so its layout (fastText 0.9,
    `FastText::loadModel`) is walked before it is loaded.
    Where there are no four bytes to read fastText takes what is left in memory for them, so an empty file and a
    folder are refused here too. All other files are left to fastText.
    """
    if not os.path.exists(path):
        return
    if not os.path.isfile(path) or os.path.getsize(path) < len(MAGIC):
        raise ValueError("it is not a fastText model")
    with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:

        def read(layout: str) -> tuple[Any, ...]:
            return struct.unpack(f"<{layout}", data.read(struct.calcsize(f"<{layout}")))

        def skip(count: int) -> None:
            if count < 0:
                raise ValueError
            data.seek(count, os.SEEK_CUR)  # beyond the end it raises ValueError

        def skip_quantizer() -> None:
            dimensions, *_ = read("4i")
            skip(dimensions * 256 * 4)

        def skip_matrix(quantized: bool) -> None:
            if not quantized:
                rows, columns = read("2q")
                return skip(rows * columns * 4)
            has_norms, rows, _, code_size = read("?2qi")
            skip(code_size)
            skip_quantizer()
            if has_norms:
                skip(rows)
                skip_quantizer()

        if data[: len(MAGIC)] != MAGIC:
            return
        try:
            _, _, *whole_numbers, _ = read("2i12id")  # magic, version, and the settings
            word_ngrams, buckets, longest_part = whole_numbers[5], whole_numbers[8], whole_numbers[10]
            if buckets < 1 and (word_ngrams > 1 or longest_part > 0):
                raise ValueError  # fastText divides by the number of buckets
            entries, _, _, _, pruned = read("3i2q")
            at = data.tell()
            for entry in range(entries):
                end = data.find(b"\0", at)  # of the word; then come its count and kind
                if end < 0:
                    raise ValueError
                at = end + 10
                if entry % 100 == 0:
                    pause()
            data.seek(at + max(0, pruned) * 8)
            (quantized,) = read("?")
            skip_matrix(quantized)
            (quantized_output,) = read("?")
            skip_matrix(quantized and quantized_output)
        except (ValueError, struct.error):
            raise ValueError("it is not a whole fastText model") from None
