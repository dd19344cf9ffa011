"""The safety filter: a fastText classifier that says whether a prompt may be used."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

RETRY_SECONDS = 5.0
"""How long a failed load is remembered before the next call tries again; the engine contract allows 10 s."""

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
                    self._model, self._failure = _load(self._path), None
                except ImportError:
                    self._failure = "The safety filter needs the package fasttext-modern, which is not installed"
                except Exception as exc:  # fastText reports a broken file in many ways
                    self._failure = f"The safety filter's model could not be loaded: {exc}"
                self._failed_at = self._clock()
            return self._model, self._failure


def first_blocked(filter_: PromptSafetyFilter, prompts: Iterable[str]) -> SafetyResult | None:
    """The first verdict that blocks, or `None`; prompts after it are not scored."""
    results = (filter_.classify(prompt) for prompt in prompts)
    return next((result for result in results if result.decision is SafetyDecision.BLOCK), None)


def _load(path: str | None) -> Any:
    import fasttext

    model = fasttext.load_model(path)
    if _UNSAFE not in model.get_labels():
        raise ValueError(f"it does not know the label {_UNSAFE}")
    return model


def _scores(model: Any, prompt: str) -> dict[str, float]:
    """The probability of every label. fastText's whole interface is here.

    It takes single lines of valid UTF-8, so line ends and NULs become spaces and lone surrogates question marks.
    """
    line = prompt.replace("\r", " ").replace("\n", " ").replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
    labels, probabilities = model.predict([line], k=-1)
    scores = {label: min(1.0, float(score)) for label, score in zip(labels[0], probabilities[0], strict=True)}
    if not scores or any(math.isnan(score) for score in scores.values()):
        raise ValueError("the model gave no probabilities")
    return scores


def _unavailable(prompt: str, reason: str | None) -> SafetyResult:
    return SafetyResult(prompt, SafetyDecision.UNAVAILABLE, reason=reason)
