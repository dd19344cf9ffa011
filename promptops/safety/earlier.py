"""The safety filter of an earlier release, read from the values that the release stores, in all their older shapes.

Reading only: actions/filter_settings.py rolls back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from promptops.ledger.configurations import DamagedConfiguration
from promptops.ledger.models import AuditEntry, Release
from promptops.safety.enums import SafetyTermKind, SecondStageMode, SecondStageScope, WhenUnavailable
from promptops.safety.live_part import SEPARATOR, STORED
from promptops.safety.models import SafetyModelVersion


@dataclass(frozen=True)
class Term:
    """An allow or deny term as somebody typed it; `category` is a deny term's."""

    kind: str
    text: str
    category: str = ""


@dataclass(frozen=True)
class SafetyChange:
    """A change of the filter's configuration; None leaves a part unchanged. Empty `thresholds` mean the model's own.

    A `second_threshold` of "own" means the second stage's own.
    """

    mode: str | None = None
    when_down: str | None = None
    when_language: str | None = None
    expected_languages: tuple[str, ...] | None = None
    when_expected: str | None = None
    thresholds: dict[str, float] | None = None
    second_mode: str | None = None
    second_scope: str | None = None
    second_threshold: float | Literal["own"] | None = None
    terms: tuple[Term, ...] | None = None
    model: SafetyModelVersion | None = None


def shown_at(revision: int) -> dict[str, Any] | None:
    """Return the filter's values after one of its releases, as pages show them; 0: before the first release.

    Returns None if they are unknown.
    """
    values = _values_at(revision)
    return {name: value for name, value in values.items() if name != STORED} if values else None


def filter_at(revision: int) -> SafetyChange | None:
    """Return the change that restores the filter after one of its releases; 0: before the first release.

    Returns None if the values are unknown or the model is gone.
    """
    values = _values_at(revision)
    return change_of(values) if values else None


def change_of(values: Mapping[str, Any]) -> SafetyChange | None:
    """Return the change that restores the filter that a release stored, in any of its older shapes.

    Returns None if the model is gone.
    """
    values = _in_two_choices(values)
    model = SafetyModelVersion.objects.filter(number=values["model"]).defer("data").first()
    if model is None:
        return None
    stored = values.get(STORED)
    return SafetyChange(
        mode=values["mode"],
        when_down=values["when_down"],
        when_language=values["when_language"],
        expected_languages=tuple(filter(None, values.get("expected_languages", "").split(SEPARATOR))),
        when_expected=values.get("when_expected", WhenUnavailable.BLOCK),
        # A release from before the second stage had none.
        second_mode=values.get("second_mode", SecondStageMode.OFF),
        second_scope=values.get("second_scope", SecondStageScope.DOUBTFUL),
        second_threshold=values.get("second_from", "own"),
        thresholds=dict(stored["thresholds"]) if stored else _thresholds_of_older(values, model),
        terms=tuple(Term(**term) for term in stored["terms"]) if stored else _terms_of_older(values),
        model=model,
    )


def _values_at(revision: int) -> dict[str, Any] | None:
    releases = Release.objects.filter(action__startswith="safety.")
    release = releases.filter(pk=revision).first() if revision else releases.order_by("revision").first()
    try:
        configuration = release and release.configuration
    except DamagedConfiguration:  # the page of the revision says so
        configuration = None
    values = configuration and configuration.get("safety")
    if not (release and values):
        return None
    if revision:
        return _in_two_choices(values)
    # No release stores the values before the first one; the audit has those that this release changed, as pages show.
    entry = AuditEntry.objects.filter(revision=release.pk, action=release.action).first()
    before = entry.before if entry and isinstance(entry.before, dict) else {}
    installed = {name: value for name, value in {**values, **before}.items() if value is not None and name != STORED}
    return _in_two_choices(installed)


def _in_two_choices(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a release's values with two choices for unjudged texts; older releases have one, `when_unavailable`."""
    newer = dict(values)
    if choice := newer.pop("when_unavailable", None):
        newer.setdefault("when_down", choice)
        newer.setdefault("when_language", choice)
    return newer


def _thresholds_of_older(values: Mapping[str, Any], model: SafetyModelVersion) -> dict[str, float]:
    """Return the set thresholds of a release that stores only those in force, which include the model's own.

    The oldest releases store four digits of each.
    """
    own = model.manifest.get("thresholds", {})
    in_force = {
        name.removesuffix("_from"): value
        for name, value in values.items()
        if name.endswith("_from") and name != "second_from"
    }
    return {
        name: value
        for name, value in in_force.items()
        if name not in own or value not in (round(own[name], 4), round(own[name], 6))
    }


def _terms_of_older(values: Mapping[str, Any]) -> tuple[Term, ...]:
    """Return the terms of a release that stores them as shown: one a line, a deny term's category in parentheses."""
    terms = []
    for kind in SafetyTermKind:
        for line in str(values.get(f"{kind}_terms", "")).splitlines():
            text, category = line, ""
            if kind == SafetyTermKind.DENY:
                text, _, category = line.rpartition(" (")
            terms.append(Term(kind, text, category.removesuffix(")")))
    return tuple(terms)
