"""The safety filter, as part of the live configuration."""

from typing import Any

from promptops.ledger import parts
from promptops.ledger.models import LiveConfiguration
from promptops.safety import guards
from promptops.safety.enums import SafetyTermKind
from promptops.safety.models import SafetySettings, SafetyTerm

THRESHOLD_DIGITS = 6
"""Of thresholds: those of models have as many, so that a release can be rolled back to exactly."""

STORED = "stored"
"""The key of a release's values that pages do not show: thresholds and terms exactly as they are set."""

RELEASED_OF_TERM = ("kind", "text", "category")
"""The columns of a term that a release keeps."""


def load(config: LiveConfiguration) -> dict[str, Any]:
    """Read the filter."""
    return {"safety": guards.load()}


def shown_values() -> dict[str, Any]:
    """Read what is set for the filter, as releases and the audit show it: short values, terms one a line."""
    config = SafetySettings.objects.select_related("model").defer("model__data").get(pk=1)
    terms = list(SafetyTerm.objects.all())
    thresholds = {**config.model.manifest.get("thresholds", {}), **config.thresholds}
    return {
        "mode": config.mode,
        "when_down": config.when_down,
        "when_language": config.when_language,
        "model": config.model.number,
        **{f"{name}_from": round(float(value), THRESHOLD_DIGITS) for name, value in sorted(thresholds.items())},
        **{f"{kind}_terms": "\n".join(str(term) for term in terms if term.kind == kind) for kind in SafetyTermKind},
    }


def release_values(config: LiveConfiguration) -> dict[str, Any]:
    """Read what a release keeps of the filter: what pages show, and what a rollback sets."""
    set_values = SafetySettings.objects.values("thresholds").get(pk=1)
    terms = list(SafetyTerm.objects.values(*RELEASED_OF_TERM))
    return {**shown_values(), STORED: {"thresholds": set_values["thresholds"], "terms": terms}}


parts.register(parts.Part("safety", "safety", load, release_values))
