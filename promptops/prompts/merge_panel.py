"""The rows of the merge panel: text in reading order, with the choices of each conflict. `texts.merge` merges."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from promptops.prompts.content import SETTINGS, TEXTS, shown
from promptops.texts.merge import Kind, Merge, Part

# Unchanged text longer than LONG characters is folded, except SHOWN characters at each end.
LONG = 400
SHOWN = 120


@dataclass(frozen=True)
class Choice:
    """One choice of a conflict: the value and label of its radio button, and the text that results."""

    value: str
    label: str
    result: str
    chosen: bool


@dataclass(frozen=True)
class Row:
    """One part of the merge, with the side that changed it. `hidden` is folded. Conflicts have `name` and `choices`."""

    kind: Kind
    whose: str
    base: str
    merged: str
    name: str = ""
    choices: tuple[Choice, ...] = ()
    hidden: str = ""
    end: str = ""

    @property
    def hidden_label(self) -> str:
        """Return how many words are folded."""
        count = len(self.hidden.split())
        return f"{count:,} unchanged word{'' if count == 1 else 's'}"


@dataclass(frozen=True)
class Panel:
    """A merge as the panel shows it: text, changed settings by label, number of conflicts, automatic edits in words."""

    text: tuple[Row, ...]
    settings: dict[str, Row]
    questions: int
    automatic: str


def panel(merge: Merge, theirs: str, chosen: Mapping[str, str]) -> Panel:
    """Return the panel of a merge. `theirs` is the label of the other side ("v13"), `chosen` has earlier choices."""
    names = {id(part): name for name, part in merge.contested.items()}
    text = tuple(_row(part, names.get(id(part), ""), theirs, chosen) for part in merge.parts)
    settings = {
        SETTINGS[name].label: _row(part, names.get(id(part), ""), theirs, chosen, words=_words(name))
        for name, part in merge.settings.items()
        if part.kind != "same"
    }
    counts = Counter(row.kind for row in (*text, *settings.values()))
    sides: list[tuple[Kind, str]] = [
        ("mine", "of your edits"),
        ("theirs", f"from {theirs}"),
        ("agreed", "that you both made"),
    ]
    automatic = ", ".join(f"{counts[kind]:,} {whose}" for kind, whose in sides if counts[kind])
    return Panel(text, settings, len(names), automatic)


def _words(name: str) -> Callable[[Any], str]:
    """Return what shows a value of a setting: for a text that is not set, what happens then."""
    unset = SETTINGS[name].default_words
    return (lambda text: text or unset) if name in TEXTS else shown


def _row(part: Part, name: str, theirs: str, chosen: Mapping[str, str], words: Callable[[Any], str] = str) -> Row:
    base = words(part.base)
    whose = {"mine": "yours", "theirs": theirs, "agreed": "both"}.get(part.kind, "")
    if part.kind == "contested":
        labels = {"mine": "Yours", "theirs": theirs, "both": "Both, yours first"}
        choices = (
            Choice(value, labels[value], words(result).strip(), chosen.get(name) == value)
            for value, result in part.choices.items()
        )
        return Row("contested", whose, base, "", name, tuple(choices))
    merged = words(part.merged)
    if part.kind == "same" and len(merged) > LONG:
        start = merged.rfind(" ", 0, SHOWN) + 1 or SHOWN
        end = merged.find(" ", len(merged) - SHOWN) + 1 or len(merged) - SHOWN
        return Row("same", whose, base, merged[:start], hidden=merged[start:end], end=merged[end:])
    return Row(part.kind, whose, base, merged)
