"""A safety classifier that is no fastText model: the guard needs only the protocol."""

from types import MappingProxyType

from promptops.engine.safety.classifier import Classifier
from promptops.engine.safety.guard import (
    Probe,
    Reading,
    SafetyCategory,
    SafetyGuard,
    SafetyPolicy,
    UnjudgedCause,
    VerdictDecision,
)

VIOLENCE = SafetyCategory.VIOLENCE


class WordList:
    """Scores 0.9 in violence where a word is on its list."""

    ready = True
    spec = property(lambda self: self)
    categories = frozenset({VIOLENCE})
    thresholds = MappingProxyType({VIOLENCE: 0.5})
    probes = (Probe("a sharp axe", VIOLENCE), Probe("a fox in snow", None))
    english_only = False

    def get(self):
        return self, None

    def knows(self, text):
        return 1.0

    def read(self, text, pause, known_share):
        return Reading({VIOLENCE: 0.9 if "axe" in text else 0.0}, {VIOLENCE: " ".join(text)})

    def weightiest(self, window, category):
        return ("axe",)


class Missing:
    ready = False

    def get(self):
        return None, "Its server is down"


def test_the_guard_judges_with_it_under_the_operators_terms_and_thresholds() -> None:
    model: Classifier = WordList()
    guard = SafetyGuard(model)
    verdict = guard.check("a man with an axe")
    assert (verdict.decision, verdict.category, verdict.words) == (VerdictDecision.BLOCK, VIOLENCE, ("axe",))
    assert guard.check("a man with a fox").decision is VerdictDecision.ALLOW
    assert guard.self_test() == []
    assert SafetyGuard(model, SafetyPolicy({VIOLENCE: 0.95})).check("an axe").decision is VerdictDecision.ALLOW
    excused = SafetyGuard(model, SafetyPolicy({VIOLENCE: 0.5}, allow_terms=("axe",)))
    assert excused.check("an axe").decision is VerdictDecision.ALLOW


def test_one_that_cannot_be_loaded_judges_nothing() -> None:
    verdict = SafetyGuard(Missing()).check("a fox")
    assert (verdict.decision, verdict.cause) == (VerdictDecision.UNAVAILABLE, UnjudgedCause.DOWN)
    assert verdict.reason == "Its server is down"
