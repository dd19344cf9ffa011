"""Verdicts and the policy behind them: the data that the guard, its callers and every classifier share.

Data only. guard.py judges texts, terms.py finds terms, and a classifier (classifier.py) gives scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class SafetyCategory(StrEnum):
    """The kinds of harm that a text can be blocked for."""

    SEXUAL = "sexual"
    VIOLENCE = "violence"
    HATE = "hate"
    SELF_HARM = "self_harm"
    DANGEROUS = "dangerous"
    OTHER = "other"


class VerdictDecision(StrEnum):
    """The guard's decision. `TOO_LONG` refuses a text unread; `UNAVAILABLE` means that there is no judgment."""

    ALLOW = "allow"
    BLOCK = "block"
    UNAVAILABLE = "unavailable"
    TOO_LONG = "too_long"


class UnjudgedCause(StrEnum):
    """The reason for `UNAVAILABLE`: the filter is down, the language is unknown, or this one text broke the filter."""

    DOWN = "down"
    LANGUAGE = "language"
    OTHER = "other"


class SafetyLayer(StrEnum):
    """The part of the guard that decided."""

    SIZE = "size"
    ALLOW_TERMS = "allow_terms"
    DENY_TERMS = "deny_terms"
    MODEL = "model"
    SENTENCES = "sentences"
    """The second stage."""


@dataclass(frozen=True)
class SafetyVerdict:
    """The verdict on one text.

    `scores` are between 0 and 1, and empty if no model looked at the text; `category` is the one that blocked it.
    `words` are the term that decided, or those words of the worst window that raised its score most. `window` is the
    window that comes closest to a threshold or exceeds one by most. `allowed` are the allow terms that were removed,
    `normalized` is the text as it was judged. `reason` is a sentence for operators, and None for a text that is simply
    allowed. `cause` explains `UNAVAILABLE`; `language` names the text's language, if that is clear.

    For the second stage: `readings` are other readings of the whole text (misspelled words repaired, filling words
    left out), and `parts` are the worst windows of a long text.
    """

    decision: VerdictDecision
    layer: SafetyLayer | None = None
    category: SafetyCategory | None = None
    scores: Mapping[SafetyCategory, float] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    window: str = ""
    allowed: tuple[str, ...] = ()
    normalized: str = ""
    reason: str | None = None
    cause: UnjudgedCause | None = None
    language: str = ""
    readings: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class DenyTerm:
    """A word or phrase that blocks a text. A `*` at the end matches any ending of the last word."""

    text: str
    category: SafetyCategory = SafetyCategory.OTHER


@dataclass(frozen=True)
class SafetyPolicy:
    """The operators' decisions. A score at or over its category's threshold blocks; a category without one never does.

    Allow terms are removed from a text before anything else looks at it, so only the phrase itself is exempt.
    """

    thresholds: Mapping[SafetyCategory, float] = field(default_factory=dict)
    allow_terms: Sequence[str] = ()
    deny_terms: Sequence[DenyTerm] = ()
