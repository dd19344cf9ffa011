"""`PromptSafetyFilter`: one fastText classifier with the labels safe and unsafe, for use without a server.

Its names and behavior are the engine's public contract, so it stays beside `SafetyGuard` (guard.py). The product uses
the guard, with its categories, operators' terms, windows and languages. Both use model.py to load a model and score
lines, and normalize.py to read a text. They share nothing else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from promptops.engine.safety.model import PREFIX, Once, get_labels, load_fasttext, predict
from promptops.engine.safety.normalize import normalize

_UNSAFE = f"{PREFIX}unsafe"


class SafetyDecision(StrEnum):
    """The filter's decision. The operator, not the filter, chooses if an `UNAVAILABLE` prompt passes."""

    ALLOW = "allow"
    BLOCK = "block"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class SafetyResult:
    """The verdict on one prompt.

    `label` is the label that decided, without fastText's prefix, and `score` is its probability (0 to 1). `reason`
    explains in a sentence why there is no verdict.
    """

    prompt: str
    decision: SafetyDecision
    score: float = 0.0
    label: str | None = None
    reason: str | None = None


class PromptSafetyFilter:
    """Scores prompts with the fastText model at `classifier_path`; may be called from several threads.

    A prompt is blocked if the probability of `__label__unsafe` is at or over `block_threshold`. The first call loads
    the model. `clock` returns seconds and only moves forward.
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
        self._model = Once(lambda: _load(self._path or ""), clock)

    def classify(self, prompt: str) -> SafetyResult:
        """Return the verdict on `prompt`. Never raises: every failure is `UNAVAILABLE` with the reason."""
        if not self.enabled:
            return _unavailable(prompt, "The safety filter is switched off or has no model")
        model, failure = self._model.get()
        if model is None:
            return _unavailable(prompt, failure)
        try:
            scores = _scores(model, prompt)
        except Exception as exc:  # a prompt that cannot be scored must not pass as harmless
            return _unavailable(prompt, f"The safety filter could not score this prompt: {exc}")
        unsafe = scores.get(_UNSAFE, 0.0)
        if unsafe >= self.block_threshold:
            return SafetyResult(prompt, SafetyDecision.BLOCK, unsafe, _UNSAFE.removeprefix(PREFIX))
        label = max(scores, key=scores.__getitem__)
        return SafetyResult(prompt, SafetyDecision.ALLOW, scores[label], label.removeprefix(PREFIX))


def first_blocked(filter_: PromptSafetyFilter, prompts: Iterable[str]) -> SafetyResult | None:
    """Return the first verdict that blocks, or `None`; prompts after it are not scored."""
    results = (filter_.classify(prompt) for prompt in prompts)
    return next((result for result in results if result.decision is SafetyDecision.BLOCK), None)


def _load(path: str) -> Any:
    model = load_fasttext(path)
    labels = get_labels(model)
    if labels and _UNSAFE not in labels:
        raise ValueError(f"it does not know the label {_UNSAFE}")
    return model


def _scores(model: Any, prompt: str) -> dict[str, float]:
    """Return the probability of every label for the prompt as typed or normalized, whichever is less safe.

    fastText needs single lines of valid UTF-8, so line ends and NULs become spaces and lone surrogates question marks.
    """
    line = prompt.replace("\r", " ").replace("\n", " ").replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
    plain = normalize(prompt)
    return max(
        predict(model, [line] if plain == line or not plain else [line, plain]), key=lambda s: s.get(_UNSAFE, 0.0)
    )


def _unavailable(prompt: str, reason: str | None) -> SafetyResult:
    return SafetyResult(prompt, SafetyDecision.UNAVAILABLE, reason=reason)
