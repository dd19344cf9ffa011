"""Templates whose text is nearly that of another text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from promptops.prompts.models import Template
from promptops.texts.similarity import ALMOST, resemblance, shingles


@dataclass(frozen=True)
class Similar:
    """A template, or another text of the same import, that has nearly the same text. `share` is from ALMOST to 1."""

    name: str
    share: float
    is_same: bool


def similar_texts(texts: Sequence[tuple[str, str]]) -> list[list[Similar]]:
    """Return for each (name, text) what resembles it: live templates, and the texts before it, the nearest first."""
    live = Template.objects.filter(archived_at=None, live_version__isnull=False)
    known = [_Known(name, body) for name, body in live.values_list("name", "live_version__body").order_by("name")]
    found = []
    for name, text in texts:
        this = _Known(name, text)
        found.append(sorted(_resembling(this, known), key=lambda similar: -similar.share))
        known.append(this)
    return found


class _Known:
    def __init__(self, name: str, text: str) -> None:
        self.name, self.text, self.shingles = name, text, shingles(text)


def _resembling(this: _Known, others: Iterable[_Known]) -> Iterable[Similar]:
    for other in others:
        share = resemblance(this.shingles, other.shingles)
        if share >= ALMOST:
            yield Similar(other.name, share, this.text == other.text)
