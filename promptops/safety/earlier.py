"""The safety filter as an earlier release had it, read from what the release keeps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from promptops.ledger.models import AuditEntry, Release
from promptops.safety.enums import SafetyTermKind
from promptops.safety.live_part import STORED
from promptops.safety.models import SafetyModelVersion


@dataclass(frozen=True)
class Term:
    """An allow or deny term as somebody typed it; `category` is a deny term's."""

    kind: str
    text: str
    category: str = ""


@dataclass(frozen=True)
class SafetyChange:
    """What a release sets of the filter; None leaves a part as it is. Without thresholds the model's own hold."""

    mode: str | None = None
    when_down: str | None = None
    when_language: str | None = None
    thresholds: dict[str, float] | None = None
    terms: tuple[Term, ...] | None = None
    model: SafetyModelVersion | None = None


def shown_at(revision: int) -> dict[str, Any] | None:
    """Read what was set after a release of the filter, as pages show it; 0 is what was set before the first release.

    Returns None where it is not known.
    """
    values = _values_at(revision)
    return {name: value for name, value in values.items() if name != STORED} if values else None


def filter_at(revision: int) -> SafetyChange | None:
    """Read the change that sets the filter as it was after a release of it; 0: as it was before the first release.

    Returns None where that is not known, or where the model is gone.
    """
    values = _values_at(revision)
    model = values and SafetyModelVersion.objects.filter(number=values["model"]).defer("data").first()
    if not (values and model):
        return None
    stored = values.get(STORED)
    return SafetyChange(
        mode=values["mode"],
        when_down=values["when_down"],
        when_language=values["when_language"],
        thresholds=dict(stored["thresholds"]) if stored else _thresholds_of_older(values, model),
        terms=tuple(Term(**term) for term in stored["terms"]) if stored else _terms_of_older(values),
        model=model,
    )


def _values_at(revision: int) -> dict[str, Any] | None:
    releases = Release.objects.filter(action__startswith="safety.")
    release = releases.filter(pk=revision).first() if revision else releases.order_by("revision").first()
    values = release and release.configuration and release.configuration.get("safety")
    if not (release and values):
        return None
    if revision:
        return _in_two_choices(values)
    # No release keeps what was set before the first one; the audit has what that release changed, as pages show it.
    entry = AuditEntry.objects.filter(revision=release.pk, action=release.action).first()
    before = entry.before if entry and isinstance(entry.before, dict) else {}
    installed = {name: value for name, value in {**values, **before}.items() if value is not None and name != STORED}
    return _in_two_choices(installed)


def _in_two_choices(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a release's values with the two choices that were one, `when_unavailable`, in older releases."""
    found = dict(values)
    if older := found.pop("when_unavailable", None):
        found.setdefault("when_down", older)
        found.setdefault("when_language", older)
    return found


def _thresholds_of_older(values: Mapping[str, Any], model: SafetyModelVersion) -> dict[str, float]:
    """Return the thresholds of a release that keeps only those in force, the model's own among them.

    The oldest releases keep four digits of them.
    """
    own = model.manifest.get("thresholds", {})
    in_force = {name.removesuffix("_from"): value for name, value in values.items() if name.endswith("_from")}
    return {
        name: value
        for name, value in in_force.items()
        if name not in own or value not in (round(own[name], 4), round(own[name], 6))
    }


def _terms_of_older(values: Mapping[str, Any]) -> tuple[Term, ...]:
    """Return the terms of a release that keeps them as shown: one a line, the category of a deny term in brackets."""
    terms = []
    for kind in SafetyTermKind:
        for line in str(values.get(f"{kind}_terms", "")).splitlines():
            text, category = line, ""
            if kind == SafetyTermKind.DENY:
                text, _, category = line.rpartition(" (")
            terms.append(Term(kind, text, category.removesuffix(")")))
    return tuple(terms)
