"""The safety filter as a part of the live configuration: how it loads, and the values that a release stores.

earlier.py reads these values again for a rollback.
"""

from typing import Any

from promptops.ledger import parts
from promptops.ledger.models import LiveConfiguration
from promptops.safety import guards
from promptops.safety.enums import SafetyTermKind
from promptops.safety.models import SafetySettings, SafetyTerm

THRESHOLD_DIGITS = 6
"""Digits of a stored threshold. Models have as many, so a rollback restores thresholds exactly."""

STORED = "stored"
"""The key of the values that pages do not show: thresholds and terms exactly as operators set them."""

SEPARATOR = ", "
"""Between the expected languages in the values of a release."""

RELEASED_OF_TERM = ("kind", "text", "category")
"""The columns of a term that a release stores."""


def load(config: LiveConfiguration) -> dict[str, Any]:
    """Load the filter into a snapshot."""
    return {"safety": guards.load()}


def shown_values() -> dict[str, Any]:
    """Return the filter's settings as releases and the audit show them: short values, terms one a line."""
    return values_shown_of(current(), list(SafetyTerm.objects.all()))


def values_shown_of(config: SafetySettings, terms: list[SafetyTerm]) -> dict[str, Any]:
    """Return settings and terms as releases and the audit show them. They need not be saved."""
    thresholds = {**config.model.manifest.get("thresholds", {}), **config.thresholds}
    return {
        "mode": config.mode,
        "when_down": config.when_down,
        "when_language": config.when_language,
        **_expected_languages(config),
        "model": config.model.number,
        "second_mode": config.second_mode,
        "second_scope": config.second_scope,
        **({"second_from": config.second_threshold} if config.second_threshold is not None else {}),
        **{f"{name}_from": round(float(value), THRESHOLD_DIGITS) for name, value in sorted(thresholds.items())},
        **{f"{kind}_terms": "\n".join(str(term) for term in terms if term.kind == kind) for kind in SafetyTermKind},
    }


def _expected_languages(config: SafetySettings) -> dict[str, Any]:
    """Return the values of the expected languages; none without a language, as of releases that are older."""
    if not config.expected_languages:
        return {}
    return {"expected_languages": SEPARATOR.join(config.expected_languages), "when_expected": config.when_expected}


def current() -> SafetySettings:
    """Return the settings, without the file of their model."""
    return SafetySettings.objects.select_related("model").defer("model__data").get(pk=1)


def release_values(config: LiveConfiguration) -> dict[str, Any]:
    """Return the values of the filter that a release stores: those that pages show, and those that a rollback sets."""
    return released_values(current(), list(SafetyTerm.objects.all()))


def released_values(config: SafetySettings, terms: list[SafetyTerm]) -> dict[str, Any]:
    """Return the values of settings and terms that a release stores. They need not be saved."""
    stored = {"thresholds": config.thresholds, "terms": [parts.columns(term, RELEASED_OF_TERM) for term in terms]}
    return {**values_shown_of(config, terms), STORED: stored}


parts.register(parts.Part("safety", "safety", load, release_values))
