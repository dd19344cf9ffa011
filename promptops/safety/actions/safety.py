"""What is set for the safety filter, changed as one release; seeing what it blocked."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from promptops.engine.safety.guard import SafetyCategory
from promptops.engine.safety.normalize import words
from promptops.ledger import parts, registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.registry import Action
from promptops.ledger.releases import next_revision, record_release
from promptops.safety.earlier import SafetyChange, Term, filter_at
from promptops.safety.enums import SafetyTermKind
from promptops.safety.live_part import THRESHOLD_DIGITS, shown_values
from promptops.safety.models import SafetyModelVersion, SafetySettings, SafetyTerm

registry.noun("safety", "Safety")
registry.object_kind("safetymodelversion", "Safety model")
registry.value_labels(
    {
        "when_down": "While the filter is down",
        "when_language": "A text in an unknown language",
        "when_unavailable": "A text that cannot be judged",
        **{f"{category}_from": f"Threshold of {category.replace('_', '-')}" for category in SafetyCategory},
    }
)
registry.register(
    Action(
        "safety.changed",
        "{actor} changed the safety filter",
        when="mode, behavior while unavailable, thresholds or terms of the safety filter changed",
    ),
    Action(
        "safety.rolled_back",
        "{actor} made the safety filter live again {after[again]}",
        when="the safety filter was made live again as an earlier revision had it",
    ),
    Action(
        "safety.model_changed",
        "{actor} made model {after[model]} of the safety filter live (before: {before[model]})",
        when="another model of the safety filter went live, a newer or an older one",
    ),
)

MAX_TERMS = 2_000
SHORTEST_BEGINNING = 3
"""Letters that a term's last word needs before a `*`; fewer would match nearly every text."""
LOWEST, HIGHEST = 0.01, 1.0
UNKNOWN_THEN = "It is not known what the filter was then: that is no release of the filter, or its model is gone."
STALE = "Someone changed the safety filter meanwhile. Reload the page to see how it is now, then change it."


@transaction.atomic
def change_safety(change: SafetyChange, *, by: Actor, expected: int, note: str = "") -> SafetySettings:
    """Change the filter. `expected` is the `changed_revision` that was seen (else Stale).

    Raises Refused when nothing changes, ValidationError for a mode, threshold or term that cannot be used.
    """
    return _change(change, "safety.changed", {}, by=by, expected=expected, note=note)


@parts.rolls_back("safety")
@transaction.atomic
def roll_back(revision: int, *, by: Actor, expected: int, note: str = "") -> SafetySettings:
    """Set the filter as it was after a release of it; 0 is as it was installed.

    Raises Refused when that is not known, and otherwise as `change_safety` does.
    """
    change = filter_at(revision)
    if change is None:
        raise Refused(UNKNOWN_THEN)
    told = {"again": f"as r{revision} had it" if revision else "as it was installed"}
    return _change(change, "safety.rolled_back", told, by=by, expected=expected, note=note)


def _change(
    change: SafetyChange, action: str, told: dict[str, Any], *, by: Actor, expected: int, note: str
) -> SafetySettings:
    revision = next_revision()
    config, before = _seen(expected), shown_values()
    if change.model is not None:
        config.model = change.model
    if change.mode is not None:
        config.mode = change.mode
    if change.when_down is not None:
        config.when_down = change.when_down
    if change.when_language is not None:
        config.when_language = change.when_language
    if change.thresholds is not None:
        config.thresholds = clean_thresholds(change.thresholds)
    if change.terms is not None and _replace_terms(change.terms):
        config.terms_revision = revision
    _release(config, revision, action, before, by=by, note=note, told=told)
    return config


@transaction.atomic
def use_model(version: SafetyModelVersion, *, by: Actor, expected: int, note: str = "") -> SafetySettings:
    """Let the filter score with this model, a newer or an older one. Thresholds that were set stay set.

    Raises Stale and Refused as `change_safety` does.
    """
    revision = next_revision()
    config, before = _seen(expected), shown_values()
    if config.model_id == version.pk:
        raise Refused(f"Model {version.number} is live already.")
    config.model = version
    _release(config, revision, "safety.model_changed", before, by=by, note=note)
    return config


def clean_thresholds(thresholds: dict[str, float]) -> dict[str, float]:
    """The thresholds by category, or ValidationError: known categories, 0.01 to 1, as exact as releases tell."""
    cleaned = {}
    for name, value in thresholds.items():
        if name not in set(SafetyCategory):
            raise ValidationError(f"There is no category {name}.")
        if isinstance(value, bool) or not isinstance(value, int | float) or not LOWEST <= value <= HIGHEST:
            raise ValidationError(f"The threshold of {name} must be a number from {LOWEST} to {HIGHEST:.0f}.")
        cleaned[str(name)] = round(float(value), THRESHOLD_DIGITS)
    return cleaned


def clean_terms(terms: tuple[Term, ...]) -> list[SafetyTerm]:
    """The terms as they can be kept, each once; ValidationError says which one cannot be, and why."""
    found: dict[tuple[str, str], SafetyTerm] = {}
    for term in terms:
        text = " ".join(term.text.split())
        if term.kind not in set(SafetyTermKind):
            raise ValidationError(f"A term is allowed or denied, not {term.kind}.")
        if not words(text):
            raise ValidationError(f"The term {text!r} has no word that could be looked for.")
        if len(text) > 200 or "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise ValidationError(f"The term {text[:40]!r} is longer than 200 characters, or has broken ones.")
        if text.endswith("*") and len(words(text)[-1]) < SHORTEST_BEGINNING:
            raise ValidationError(
                f"The term {text!r} would match nearly every text: "
                f"write at least {SHORTEST_BEGINNING} letters before the *."
            )
        denied = term.kind == SafetyTermKind.DENY
        if denied and term.category not in set(SafetyCategory):
            raise ValidationError(f"Choose a category for the deny term {text!r}.")
        kept = SafetyTerm(kind=term.kind, text=text, category=term.category if denied else "")
        found[kept.kind, kept.text] = kept
    if len(found) > MAX_TERMS:
        raise ValidationError(f"These are {len(found):,} terms; at most {MAX_TERMS:,} are allowed.")
    _refuse_repetitions(found.values())
    return list(found.values())


def _refuse_repetitions(terms: Iterable[SafetyTerm]) -> None:
    """Terms that the filter reads alike: one of them would never do anything."""
    seen: dict[tuple[str, bool], SafetyTerm] = {}
    for term in terms:
        other = seen.setdefault((" ".join(words(term.text)), term.text.endswith("*")), term)
        if other is term:
            continue
        if other.kind != term.kind:
            raise ValidationError(
                f"The term {term.text!r} is allowed and denied ({other.text!r} reads the same). Remove one first: "
                "what is allowed is taken out before deny terms are looked for."
            )
        raise ValidationError(f"The terms {other.text!r} and {term.text!r} read the same; keep one.")


def _seen(expected: int) -> SafetySettings:
    config = SafetySettings.objects.select_related("model").defer("model__data").get(pk=1)
    if config.changed_revision != expected:
        raise Stale(STALE)
    return config


def _replace_terms(terms: tuple[Term, ...]) -> bool:
    """Whether any is another one now."""
    wanted = {(term.kind, term.text): term for term in clean_terms(terms)}
    changed = False
    for kept in SafetyTerm.objects.all():
        new = wanted.pop((kept.kind, kept.text), None)
        if new is None:
            kept.delete()
            changed = True
        elif new.category != kept.category:
            kept.category = new.category
            kept.save(update_fields=["category"])
            changed = True
    return bool(SafetyTerm.objects.bulk_create(wanted.values())) or changed


def _release(
    config: SafetySettings,
    revision: int,
    action: str,
    before: dict[str, Any],
    *,
    by: Actor,
    note: str,
    told: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Save the settings and release them; the audit tells what is different."""
    config.changed_revision = revision
    config.full_clean()
    config.save()
    after = shown_values()
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if not changed:
        raise Refused("No changes to release: the safety filter is as it was.")
    record_release(
        revision,
        action,
        by=by,
        object_name=str(config),
        before={name: before.get(name) for name in changed},
        after={name: after.get(name) for name in changed} | dict(told),
        note=note,
    )
