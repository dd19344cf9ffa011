"""The protocol of a safety classifier: everything that `SafetyGuard` needs of one, and nothing about how it scores.

`SafetyModel` (fastText) is one. Another one is a class with these members; it belongs into a module of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from promptops.engine.safety.guard import Probe, Reading, SafetyCategory


class ClassifierSpec(Protocol):
    """What a classifier was released with."""

    @property
    def thresholds(self) -> Mapping[SafetyCategory, float]:
        """The score, 0 to 1, from which a category is blocked."""

    @property
    def probes(self) -> Sequence[Probe]:
        """Texts that the self-test judges."""

    @property
    def english_only(self) -> bool:
        """Whether texts in a language that `foreign_language` recognizes are not judged."""


class LoadedClassifier(Protocol):
    """A classifier in memory; may be called from several threads."""

    @property
    def spec(self) -> ClassifierSpec: ...

    @property
    def categories(self) -> frozenset[SafetyCategory]:
        """The categories that it scores."""

    def knows(self, text: Sequence[str]) -> float:
        """Return the share of the words that it knows, 0 to 1."""

    def read(self, text: Sequence[str], pause: Callable[[], object], known_share: float) -> Reading:
        """Score the words of a text in every category. Call `pause` between steps of more than 0.5 ms.

        Parts of which it knows a smaller share of the words than `known_share` are passed over.
        """

    def weightiest(self, window: str, category: SafetyCategory) -> tuple[str, ...]:
        """Return the words of a window that count most for the category, the worst first."""


class Classifier(Protocol):
    """A classifier that is loaded with its first use; may be called from several threads."""

    @property
    def ready(self) -> bool:
        """Whether it is loaded, so that `get` does not block."""

    def get(self) -> tuple[LoadedClassifier | None, str | None]:
        """Return the loaded classifier, or `None` and the reason why there is none, as a sentence."""
