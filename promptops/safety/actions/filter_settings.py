"""Changing the safety filter's configuration: mode, thresholds, terms and model, each change as one release.

Training a model belongs to actions/training.py, reviews of verdicts to actions/reviews.py, and reading the
configuration to queries/filter_state.py.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from promptops.engine.safety.guard import SafetyCategory
from promptops.engine.safety.language import listed_languages
from promptops.engine.safety.normalize import words
from promptops.ledger import parts, registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.parts import Restoration
from promptops.ledger.registry import Action
from promptops.ledger.releases import next_revision, record_release
from promptops.safety.earlier import SafetyChange, Term, change_of, filter_at
from promptops.safety.enums import SafetyTermKind
from promptops.safety.live_part import THRESHOLD_DIGITS, current, released_values, shown_values, values_shown_of
from promptops.safety.models import SafetyModelVersion, SafetySettings, SafetyTerm
from promptops.safety.strictness import is_stricter

registry.noun("safety", "Safety")
registry.object_kind("safetymodelversion", "Safety model")
registry.value_labels(
    {
        "when_down": "If the filter is down",
        "when_language": "If the language is unknown",
        "expected_languages": "Expected languages",
        "when_expected": "If the language is expected",
        "when_unavailable": "If a text can't be judged",
        "second_mode": "Second stage",
        "second_scope": "Texts for the second stage",
        "second_from": "Threshold of the second stage",
        **{f"{category}_from": f"Threshold of {category.replace('_', '-')}" for category in SafetyCategory},
    }
)
registry.register(
    Action(
        "safety.changed",
        "{actor} changed the safety filter",
        when="somebody changed the mode, thresholds or terms of the safety filter, or what it does with unjudged texts",
        passes_freeze=is_stricter,
    ),
    Action(
        "safety.rolled_back",
        "{actor} rolled the safety filter back ({after[again]})",
        when="somebody rolled the safety filter back to an earlier revision",
        passes_freeze=is_stricter,
    ),
    Action(
        "safety.model_changed",
        "{actor} made model {after[model]} of the safety filter live (before: {before[model]})",
        when="somebody made another model of the safety filter live, a newer or an older one",
    ),
)

MAX_TERMS = 2_000
SHORTEST_BEGINNING = 3
"""Letters that a term's last word needs before a `*`; with fewer it would match nearly every text."""
LOWEST, HIGHEST = 0.01, 1.0
UNKNOWN_THEN = (
    "The filter of that revision is unknown: the revision did not change the filter, what it stored is damaged, or its "
    "model is gone."
)
STALE = "Someone changed the safety filter in the meantime. Reload the page to see its new state, then try again."


@transaction.atomic
def change_safety(change: SafetyChange, *, by: Actor, expected: int, note: str = "") -> SafetySettings:
    """Change the filter. `expected` is the `changed_revision` that the person saw.

    Raises Stale if it has changed since, Refused if nothing changes, ValidationError for an invalid mode, threshold or
    term.
    """
    return _change(change, "safety.changed", {}, by=by, expected=expected, note=note)


@parts.rolls_back("safety")
@transaction.atomic
def roll_back(revision: int, *, by: Actor, expected: int, note: str = "") -> SafetySettings:
    """Roll the filter back to one of its releases; 0 rolls it back to the installation.

    Raises Refused if the filter of that revision is unknown, and otherwise as `change_safety` does.
    """
    change = filter_at(revision)
    if change is None:
        raise Refused(UNKNOWN_THEN)
    audited = {"again": f"as r{revision} had it" if revision else "as it was installed"}
    return _change(change, "safety.rolled_back", audited, by=by, expected=expected, note=note)


@parts.restores("safety")
def plan_filter(values: Mapping[str, Any]) -> Restoration:
    """Set the filter to the values that an earlier release stored."""
    change, config, terms = change_of(values), current(), list(SafetyTerm.objects.all())
    before = values_shown_of(config, terms)
    if change is None:
        sentence = "The safety filter stays as it is: its model of that time is gone."
        return Restoration(released_values(config, terms), [sentence], lambda revision: None)
    _set_columns(config, change)
    config.full_clean(validate_constraints=False)  # Django checks them in a transaction, which locks SQLite
    after = terms if change.terms is None else clean_terms(change.terms)

    def save(revision: int) -> None:
        _set_terms(config, change, revision)
        if values_shown_of(config, after) != before:
            config.changed_revision = revision
        config.save()

    return Restoration(released_values(config, after), [], save)


def _change(
    change: SafetyChange, action: str, audited: dict[str, Any], *, by: Actor, expected: int, note: str
) -> SafetySettings:
    revision = next_revision()
    config, before = _current(expected), shown_values()
    _set(config, change, revision)
    _release(config, revision, action, before, by=by, note=note, audited=audited)
    return config


def _set(config: SafetySettings, change: SafetyChange, revision: int) -> None:
    """Set the change on the row, without saving the row, and save the terms."""
    _set_columns(config, change)
    _set_terms(config, change, revision)


def _set_columns(config: SafetySettings, change: SafetyChange) -> None:
    if change.model is not None:
        config.model = change.model
    if change.mode is not None:
        config.mode = change.mode
    if change.when_down is not None:
        config.when_down = change.when_down
    if change.when_language is not None:
        config.when_language = change.when_language
    if change.expected_languages is not None:
        config.expected_languages = clean_languages(change.expected_languages)
    if change.when_expected is not None:
        config.when_expected = change.when_expected
    if change.second_mode is not None:
        config.second_mode = change.second_mode
    if change.second_scope is not None:
        config.second_scope = change.second_scope
    if change.second_threshold is not None:
        config.second_threshold = _second_threshold(change.second_threshold)
    if change.thresholds is not None:
        config.thresholds = clean_thresholds(change.thresholds)


def _set_terms(config: SafetySettings, change: SafetyChange, revision: int) -> None:
    if change.terms is not None and _replace_terms(change.terms):
        config.terms_revision = revision


@transaction.atomic
def use_model(version: SafetyModelVersion, *, by: Actor, expected: int, note: str = "") -> SafetySettings:
    """Make this model live, a newer or an older one. Thresholds that operators set do not change.

    Raises Stale and Refused as `change_safety` does.
    """
    revision = next_revision()
    config, before = _current(expected), shown_values()
    if config.model_id == version.pk:
        raise Refused(f"Model {version.number} is already live.")
    config.model = version
    _release(config, revision, "safety.model_changed", before, by=by, note=note)
    return config


def clean_thresholds(thresholds: dict[str, float]) -> dict[str, float]:
    """Return the thresholds by category, rounded as releases store them.

    Raises ValidationError unless every category is known and every threshold is from 0.01 to 1.
    """
    cleaned = {}
    for name, value in thresholds.items():
        if name not in set(SafetyCategory):
            raise ValidationError(f"Unknown category: {name}.")
        if isinstance(value, bool) or not isinstance(value, int | float) or not LOWEST <= value <= HIGHEST:
            raise ValidationError(f"The threshold of {name} must be a number from {LOWEST} to {HIGHEST:.0f}.")
        cleaned[str(name)] = round(float(value), THRESHOLD_DIGITS)
    return cleaned


def clean_languages(languages: Iterable[str]) -> list[str]:
    """Return the languages in the order of the language gate. Raises ValidationError for one that it does not name."""
    known = listed_languages()
    if unknown := sorted(set(languages) - set(known)):
        raise ValidationError(f"Unknown language: {', '.join(unknown)}. Choose from {', '.join(known)}.")
    return [language for language in known if language in languages]


def _second_threshold(value: float | str) -> float | None:
    if value == "own":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not LOWEST <= value <= HIGHEST:
        raise ValidationError(f"The threshold of the second stage must be a number from {LOWEST} to {HIGHEST:.0f}.")
    return round(float(value), THRESHOLD_DIGITS)


def clean_terms(terms: tuple[Term, ...]) -> list[SafetyTerm]:
    """Return the terms as they can be saved, each once. Raises ValidationError with the invalid term and the reason."""
    cleaned: dict[tuple[str, str], SafetyTerm] = {}
    for term in terms:
        text = " ".join(term.text.split())
        if term.kind not in set(SafetyTermKind):
            raise ValidationError(f"Unknown kind of term: {term.kind}. A term is allowed or denied.")
        if not words(text):
            raise ValidationError(f"The term {text!r} has no letters or digits to match.")
        if len(text) > 200 or "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise ValidationError(f"The term {text[:40]!r} is longer than 200 characters, or has invalid characters.")
        if text.endswith("*") and len(words(text)[-1]) < SHORTEST_BEGINNING:
            raise ValidationError(
                f"The term {text!r} would match nearly every text. "
                f"Type at least {SHORTEST_BEGINNING} letters before the *."
            )
        denied = term.kind == SafetyTermKind.DENY
        if denied and term.category not in set(SafetyCategory):
            raise ValidationError(f"Choose a category for the denied term {text!r}.")
        category = term.category if denied else ""
        cleaned[term.kind, text] = SafetyTerm(kind=term.kind, text=text, category=category)
    if len(cleaned) > MAX_TERMS:
        raise ValidationError(f"These are {len(cleaned):,} terms; at most {MAX_TERMS:,} are allowed.")
    _refuse_repetitions(cleaned.values())
    return list(cleaned.values())


def _refuse_repetitions(terms: Iterable[SafetyTerm]) -> None:
    """Raise ValidationError for two terms that the filter reads alike: one of them would have no effect."""
    seen: dict[tuple[str, bool], SafetyTerm] = {}
    for term in terms:
        other = seen.setdefault((" ".join(words(term.text)), term.text.endswith("*")), term)
        if other is term:
            continue
        if other.kind != term.kind:
            raise ValidationError(
                f"The term {term.text!r} is allowed and denied ({other.text!r} reads the same). Remove one of them: "
                "allowed terms are removed from a text before denied terms are looked for."
            )
        raise ValidationError(f"The terms {other.text!r} and {term.text!r} read the same. Keep one of them.")


def _current(expected: int) -> SafetySettings:
    """Return the settings, or raise Stale if they have changed since revision `expected`."""
    config = current()
    if config.changed_revision != expected:
        raise Stale(STALE)
    return config


def _replace_terms(terms: tuple[Term, ...]) -> bool:
    """Save the terms, and return whether that changed any."""
    wanted = {(term.kind, term.text): term for term in clean_terms(terms)}
    changed = False
    for saved in SafetyTerm.objects.all():
        new = wanted.pop((saved.kind, saved.text), None)
        if new is None:
            saved.delete()
            changed = True
        elif new.category != saved.category:
            saved.category = new.category
            saved.save(update_fields=["category"])
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
    audited: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Save the settings and release them; the audit entry has the values that changed, and `audited`."""
    config.changed_revision = revision
    config.full_clean()
    config.save()
    after = shown_values()
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if not changed:
        raise Refused("No changes to release: the safety filter already has these settings.")
    record_release(
        revision,
        action,
        by=by,
        object_name=str(config),
        before={name: before.get(name) for name in changed},
        after={name: after.get(name) for name in changed} | dict(audited),
        note=note,
    )
