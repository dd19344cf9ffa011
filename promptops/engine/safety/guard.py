"""The whole filter: a text's size, the operators' terms, and a classifier with a threshold for every category.

`SafetyGuard` gives a `SafetyVerdict` for any text. The caller's settings decide what `UNAVAILABLE` means for the text;
it never means that the text is harmless. The guard knows its classifier by the protocols in classifier.py only: to use
another one than fastText, pass a `ClassifierSource` of your own.

This module is the address of the filter's public names, so it exports those of the modules beside it, too. Code about
one kind of classifier, about terms or about normalizing text does not belong here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from promptops.engine.safety.classifier import (
    ClassifierSource,
    Probe,
    Reading,
    SafetyClassifier,
    log_odds,
    worst_of,
)
from promptops.engine.safety.fasttext_classifier import LoadedModel, SafetyModel
from promptops.engine.safety.language import foreign_language, frequent_words
from promptops.engine.safety.manifests import PROBES, SHIPPED, ModelSpec, read_manifest, spec_of
from promptops.engine.safety.normalize import read_words
from promptops.engine.safety.terms import Terms
from promptops.engine.safety.turns import HOLD_SECONDS, INLINE_BYTES, let_go, scorer, turn
from promptops.engine.safety.verdicts import (
    DenyTerm,
    SafetyCategory,
    SafetyLayer,
    SafetyPolicy,
    SafetyVerdict,
    UnjudgedCause,
    VerdictDecision,
)

__all__ = [
    "HOLD_SECONDS",
    "INLINE_BYTES",
    "MAX_BYTES",
    "PROBES",
    "SHIPPED",
    "ClassifierSource",
    "DenyTerm",
    "LoadedModel",
    "ModelSpec",
    "Probe",
    "Reading",
    "SafetyCategory",
    "SafetyClassifier",
    "SafetyGuard",
    "SafetyLayer",
    "SafetyModel",
    "SafetyPolicy",
    "SafetyVerdict",
    "Terms",
    "UnjudgedCause",
    "VerdictDecision",
    "let_go",
    "log_odds",
    "read_manifest",
    "read_words",
    "spec_of",
    "worst_of",
]

MAX_BYTES = 8192
"""Longer texts (in UTF-8) are refused unread."""
KNOWN_SHARE = 1 / 3
"""If the classifier knows a smaller share of a text's words than this, the text is not called harmless."""
WINDOW_KNOWN_SHARE = 2 / 3
"""In such a text only windows with this share of known words can be harmful. So unknown words hide nothing, and one
foreign word that looks like an English one blocks nothing."""


class SafetyGuard:
    """Judges texts; may be called from several threads and event loops. Guards may share one `model`.

    The product uses this guard; `PromptSafetyFilter` (filter.py) is the small one of the engine's public contract.
    Without `policy` the classifier's own thresholds hold.
    """

    def __init__(self, model: ClassifierSource | None, policy: SafetyPolicy | None = None) -> None:
        self._model = model
        self._policy = policy
        policy = policy or SafetyPolicy()
        self._allow = Terms((term, None) for term in policy.allow_terms)
        self._deny = Terms((term.text, term.category) for term in policy.deny_terms)

    def check(self, text: str) -> SafetyVerdict:
        """Return the verdict on `text`. Never raises: every failure is `UNAVAILABLE` with the reason."""
        return self._check(text, lambda: None)

    def check_beside(self, text: str, pause: Callable[[], object] | None = None) -> SafetyVerdict:
        """Do `check()` in a thread beside an event loop, which gets its turn in every `pause` (default: `let_go`)."""
        return self._check(text, pause or let_go)

    async def check_async(self, text: str) -> SafetyVerdict:
        """Do `check()` in an event loop, which goes on while the model loads, a long text is scored or many wait."""
        if (self._model is None or self._model.ready) and len(text.encode("utf-8", "surrogatepass")) <= INLINE_BYTES:
            async with turn():
                verdict = self.check(text)
                await asyncio.sleep(0)  # the next caller's turn comes in the loop's next one, after all other work
                return verdict
        return await asyncio.get_running_loop().run_in_executor(scorer(), self.check_beside, text)

    def without_allowed(self, text: str, verdict: SafetyVerdict) -> str:
        """Return the text as another classifier should read it: without the allow terms that its verdict names."""
        if not verdict.allowed:
            return text
        rest, _ = self._allow.take_out(read_words(text, let_go), let_go)
        return " ".join(word for word in rest if word)

    def self_test(self) -> list[str]:
        """Return what is wrong, in sentences: no model, or a probe judged wrongly. Empty if the filter works."""
        model, failure = self._loaded()
        if model is None:
            return [failure or ""]
        problems = []
        for probe in model.probes:
            expected = VerdictDecision.BLOCK if probe.category else VerdictDecision.ALLOW
            if probe.category in (None, *model.categories) and (got := self.check(probe.text).decision) != expected:
                problems.append(f'"{probe.text}" should get the verdict {expected}, but gets {got}')
        return problems

    def _loaded(self) -> tuple[SafetyClassifier | None, str | None]:
        return self._model.get() if self._model else (None, "The safety filter has no model")

    def _check(self, text: str, pause: Callable[[], object]) -> SafetyVerdict:
        normalized = ""
        try:
            if len(text) > MAX_BYTES or (size := len(text.encode("utf-8", "surrogatepass"))) > MAX_BYTES:
                size = len(text) if len(text) > MAX_BYTES else size
                return SafetyVerdict(
                    VerdictDecision.TOO_LONG,
                    SafetyLayer.SIZE,
                    reason=f"The text has {size} bytes or more; at most {MAX_BYTES} are read. Shorten it",
                )
            text_words = read_words(text, pause)
            normalized = " ".join(text_words)
            return self._judge(text_words, normalized, pause)
        except Exception as exc:  # a text that cannot be judged must not pass as harmless
            reason = f"The safety filter could not judge this text: {type(exc).__name__}: {exc}"
            return _unavailable(UnjudgedCause.OTHER, reason, normalized=normalized)

    def _judge(self, text: list[str], normalized: str, pause: Callable[[], object]) -> SafetyVerdict:
        pause()
        rest, allowed = self._allow.take_out(text, pause)
        if denied := self._deny.first_in(rest, pause):
            term, category = denied
            return SafetyVerdict(
                VerdictDecision.BLOCK,
                SafetyLayer.DENY_TERMS,
                category,
                words=tuple(term.split()),
                allowed=allowed,
                normalized=normalized,
                reason=f'The text contains the denied term "{term}"',
            )
        left = [word for word in rest if word]
        if allowed and not left:
            return SafetyVerdict(
                VerdictDecision.ALLOW, SafetyLayer.ALLOW_TERMS, words=allowed, allowed=allowed, normalized=normalized
            )
        return self._score(left, allowed, normalized, pause)

    def _score(
        self, left: list[str], allowed: tuple[str, ...], normalized: str, pause: Callable[[], object]
    ) -> SafetyVerdict:
        """Return the classifier's verdict on the words left by terms; a block wins over an unknown language."""
        model, failure = self._loaded()
        if model is None:
            return _unavailable(UnjudgedCause.DOWN, failure, allowed=allowed, normalized=normalized)
        pause()
        thresholds = self._policy.thresholds if self._policy else model.thresholds
        if model.categories.isdisjoint(thresholds):
            reason = "No category of the safety filter's model has a threshold, so it could block nothing"
            return _unavailable(UnjudgedCause.DOWN, reason, SafetyLayer.MODEL, allowed=allowed, normalized=normalized)
        foreign = foreign_language(left, pause) if model.english_only else None
        is_readable = foreign is None and model.knows(left) >= KNOWN_SHARE
        if foreign is not None:
            # Small words of that language mean something else in English (the German "die"), so only the rest counts.
            listed = frequent_words(foreign)
            left = [word for word in left if word not in listed]
        reading = model.read(left, pause, 0.0 if is_readable else WINDOW_KNOWN_SHARE)
        worst = worst_of(reading.scores, thresholds)
        passes = worst is None or reading.scores[worst] < thresholds[worst]
        if passes and not is_readable:
            return _unavailable(
                UnjudgedCause.LANGUAGE,
                f"The safety filter doesn't know enough of these words to judge them{_in_language(foreign)}",
                SafetyLayer.MODEL,
                allowed=allowed,
                normalized=normalized,
                language=foreign or "",
            )
        if worst is None or passes:
            return SafetyVerdict(
                VerdictDecision.ALLOW,
                SafetyLayer.MODEL,
                scores=reading.scores,
                window=reading.windows[worst] if worst else "",
                allowed=allowed,
                normalized=normalized,
                readings=reading.readings,
                parts=reading.parts,
            )
        return SafetyVerdict(
            VerdictDecision.BLOCK,
            SafetyLayer.MODEL,
            worst,
            scores=reading.scores,
            words=model.weightiest(reading.windows[worst], worst),
            window=reading.windows[worst],
            allowed=allowed,
            normalized=normalized,
            readings=reading.readings,
            parts=reading.parts,
            reason=f"The model scores {worst} at {reading.scores[worst]:.2f}; the threshold is {thresholds[worst]:.2f}",
        )


def _unavailable(
    cause: UnjudgedCause, reason: str | None, layer: SafetyLayer | None = None, **known: Any
) -> SafetyVerdict:
    return SafetyVerdict(VerdictDecision.UNAVAILABLE, layer, reason=reason, cause=cause, **known)


def _in_language(language: str | None) -> str:
    return f" (mostly {language})" if language else ""
