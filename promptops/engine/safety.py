"""The safety filter: a fastText classifier that says whether a prompt may be used."""

from __future__ import annotations

import math
import os
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from mmap import ACCESS_READ, mmap
from typing import Any

RETRY_SECONDS = 5.0
"""How long a failed load is remembered before the next call tries again; the engine contract allows 10 s."""

_MAGIC = (793712314).to_bytes(4, "little")
"""What every fastText model file begins with."""

_PREFIX = "__label__"
_UNSAFE = "__label__unsafe"


class SafetyDecision(StrEnum):
    """What the filter says. Whether `UNAVAILABLE` lets a prompt pass is the operator's choice, not the filter's."""

    ALLOW = "allow"
    BLOCK = "block"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class SafetyResult:
    """The verdict on one prompt.

    `label` is the label that decided, without fastText's prefix, and `score` its probability (0 to 1). `reason` says
    in a sentence why there is no verdict.
    """

    prompt: str
    decision: SafetyDecision
    score: float = 0.0
    label: str | None = None
    reason: str | None = None


class PromptSafetyFilter:
    """Scores prompts with the fastText model at `classifier_path`; may be called from several threads.

    A prompt is blocked when the probability of `__label__unsafe` is at or over `block_threshold`. The model is loaded
    with the first call. `clock` gives seconds and only ever moves forward.
    """

    def __init__(
        self,
        *,
        classifier_path: str | os.PathLike[str] | None,
        enabled: bool = True,
        block_threshold: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = os.fspath(classifier_path) if classifier_path else None
        self.enabled = bool(enabled and self._path)
        self.block_threshold = block_threshold
        self._clock = clock
        self._lock = threading.Lock()
        self._model: Any = None
        self._failure: str | None = None
        self._failed_at = 0.0

    def classify(self, prompt: str) -> SafetyResult:
        """The verdict on `prompt`. Never raises: whatever goes wrong is `UNAVAILABLE` with the reason."""
        if not self.enabled:
            return _unavailable(prompt, "The safety filter is switched off or has no model")
        model, failure = self._loaded()
        if model is None:
            return _unavailable(prompt, failure)
        try:
            scores = _scores(model, prompt)
        except Exception as exc:  # a prompt that cannot be scored must not pass as harmless
            return _unavailable(prompt, f"The safety filter could not score this prompt: {exc}")
        unsafe = scores.get(_UNSAFE, 0.0)
        if unsafe >= self.block_threshold:
            return SafetyResult(prompt, SafetyDecision.BLOCK, unsafe, _UNSAFE.removeprefix(_PREFIX))
        label = max(scores, key=scores.__getitem__)
        return SafetyResult(prompt, SafetyDecision.ALLOW, scores[label], label.removeprefix(_PREFIX))

    def _loaded(self) -> tuple[Any, str | None]:
        """The model, or the reason why there is none. Callers that come during a load wait for its result."""
        if self._model is not None:
            return self._model, None
        with self._lock:
            recent = self._failure is not None and self._clock() - self._failed_at < RETRY_SECONDS
            if self._model is None and not recent:
                try:
                    self._model, self._failure = _load(self._path or ""), None
                except ImportError:
                    self._failure = "The safety filter needs the package fasttext-community, which is not installed"
                except Exception as exc:  # fastText reports a broken file in many ways
                    self._failure = f"The safety filter's model could not be loaded: {exc}"
                self._failed_at = self._clock()
            return self._model, self._failure


def first_blocked(filter_: PromptSafetyFilter, prompts: Iterable[str]) -> SafetyResult | None:
    """The first verdict that blocks, or `None`; prompts after it are not scored."""
    results = (filter_.classify(prompt) for prompt in prompts)
    return next((result for result in results if result.decision is SafetyDecision.BLOCK), None)


def _load(path: str) -> Any:
    import fasttext

    _check_complete(path)
    model = fasttext.load_model(path)
    labels: list[str] = getattr(model, "get_labels", list)()  # a stand-in for fastText need only load and predict
    if labels and _UNSAFE not in labels:
        raise ValueError(f"it does not know the label {_UNSAFE}")
    return model


def _check_complete(path: str) -> None:
    """Raise `ValueError` when the file begins like a fastText model but does not have all of its parts.

    A model that was cut short, as by a copy under way, makes fastText divide by zero or read for ever, which takes
    the process down with it; so its layout (fastText 0.9, `FastText::loadModel`) is walked before it is loaded.
    Where there are no four bytes to read fastText takes what is left in memory for them, so an empty file and a
    folder are refused here too. All other files are left to fastText.
    """
    if not os.path.exists(path):
        return
    if not os.path.isfile(path) or os.path.getsize(path) < len(_MAGIC):
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

        if data[: len(_MAGIC)] != _MAGIC:
            return
        try:
            skip(4 + 4 + 12 * 4 + 8)  # magic, version, twelve whole numbers and one fraction of settings
            entries, _, _, _, pruned = read("3i2q")
            for _ in range(entries):
                data.seek(data.find(b"\0") + 1 or len(data))  # the word ends with a NUL
                skip(9)  # its count and kind
            skip(max(0, pruned) * 8)
            (quantized,) = read("?")
            skip_matrix(quantized)
            (quantized_output,) = read("?")
            skip_matrix(quantized and quantized_output)
        except (ValueError, struct.error):
            raise ValueError("it is not a whole fastText model") from None


def _scores(model: Any, prompt: str) -> dict[str, float]:
    """The probability of every label. fastText's whole interface is here.

    It takes single lines of valid UTF-8, so line ends and NULs become spaces and lone surrogates question marks.
    """
    line = prompt.replace("\r", " ").replace("\n", " ").replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
    labels, probabilities = model.predict([line], k=-1)
    scores = {label: float(score) for label, score in zip(labels[0], probabilities[0], strict=True)}
    if not scores or any(math.isnan(score) for score in scores.values()):
        raise ValueError("the model gave no probabilities")
    return {label: min(1.0, score) for label, score in scores.items()}


def _unavailable(prompt: str, reason: str | None) -> SafetyResult:
    return SafetyResult(prompt, SafetyDecision.UNAVAILABLE, reason=reason)
