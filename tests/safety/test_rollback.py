"""Rolling the safety filter back: the values that a release stores, and releases with older values."""

import pytest

from promptops.ledger import parts
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import AuditEntry, Release
from promptops.safety.actions.filter_settings import SafetyChange, Term, change_safety, roll_back
from promptops.safety.models import SafetySettings, SafetyTerm

pytestmark = pytest.mark.django_db

TERMS = (Term("deny", "acme (cola)", "other"), Term("deny", "kill", "violence"), Term("allow", "shoot a sunset"))


def config() -> SafetySettings:
    return SafetySettings.objects.select_related("model").get(pk=1)


def own() -> dict[str, float]:
    return config().model.manifest["thresholds"]


def change(actor, **wanted) -> int:
    changed = change_safety(SafetyChange(**wanted), by=actor, expected=config().changed_revision)
    return changed.changed_revision


def terms() -> set[Term]:
    return {Term(term.kind, term.text, term.category) for term in SafetyTerm.objects.all()}


def store_as(revision: int, safety: dict) -> None:
    """Make the release look like one of an earlier PromptOps."""
    release = Release.objects.get(pk=revision)
    release.store(release.configuration | {"safety": safety})
    release.save()


def test_a_rollback_sets_exactly_what_was_set(actor):
    # A set threshold that equals the model's own stays set: another model would not change it.
    thresholds = {"violence": 0.9, "hate": round(own()["hate"], 6)}
    first = change(actor, mode="enforce", when_language="allow", thresholds=thresholds, terms=TERMS)
    second = change(actor, mode="off", when_language="block", when_down="allow", thresholds={}, terms=())
    roll_back(first, by=actor, expected=second, note="as before")
    now = config()
    assert (now.mode, now.when_language, now.when_down) == ("enforce", "allow", "block")
    assert now.thresholds == thresholds
    assert terms() == set(TERMS)
    entry = AuditEntry.objects.first()
    assert (entry.action, entry.note) == ("safety.rolled_back", "as before")
    assert entry.after["again"] == f"as r{first} had it"


def test_a_rollback_to_the_installation(actor):
    before = config()
    first = change(actor, mode="enforce", thresholds={"violence": 0.9}, terms=TERMS)
    roll_back(0, by=actor, expected=first)
    assert (config().mode, config().thresholds, terms()) == (before.mode, before.thresholds, set())


@pytest.mark.parametrize("digits", [4, 6])
def test_a_release_that_stores_only_the_shown_values_is_still_readable(actor, digits):
    first = change(actor, mode="off")
    in_force = {name: round(value, digits) for name, value in own().items()} | {"violence": 0.9}
    store_as(
        first,
        {
            "mode": "enforce",
            "when_unavailable": "allow",  # the oldest releases have one choice for both causes
            "model": 1,
            **{f"{name}_from": value for name, value in in_force.items()},
            "allow_terms": "shoot a sunset",
            "deny_terms": "acme (cola) (other)\nkill (violence)",
        },
    )
    roll_back(first, by=actor, expected=first)
    now = config()
    assert (now.mode, now.when_language, now.when_down) == ("enforce", "allow", "allow")
    assert now.thresholds == {"violence": 0.9}
    assert terms() == set(TERMS)


def test_a_rollback_to_an_unknown_state_is_refused(actor):
    first = change(actor, mode="enforce")
    with pytest.raises(Refused, match="is unknown"):
        roll_back(99, by=actor, expected=first)
    store_as(first, Release.objects.get(pk=first).configuration["safety"] | {"model": 99})
    with pytest.raises(Refused, match="its model is gone"):
        roll_back(first, by=actor, expected=first)
    for packed in (None, b"damaged"):
        Release.objects.filter(pk=first).update(packed_configuration=packed)
        with pytest.raises(Refused, match="is unknown"):
            roll_back(first, by=actor, expected=first)


def test_a_rollback_is_refused_if_the_filter_has_changed_since(actor):
    first = change(actor, mode="enforce")
    change(actor, mode="off")
    with pytest.raises(Stale):
        roll_back(first, by=actor, expected=first)


def test_only_the_safety_filter_can_be_rolled_back_as_a_whole():
    rolled_back = {
        part
        for part in ("template", "provider", "variable", "settings", "safety")
        if parts.can_roll_back(f"{part}.changed")
    }
    assert rolled_back == {"safety"}
