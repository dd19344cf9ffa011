"""How a three-way merge is shown: rows of text in reading order, and the questions between them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from promptops.prompts.content import SETTINGS, shown
from promptops.texts.merge import Kind, Merge, Part

# An unchanged stretch longer than this many characters is folded, but for so many at either end.
LONG = 400
SHOWN = 120


@dataclass(frozen=True)
class Choice:
    """One answer to a question: the radio button's value, whose it is, and what it makes of the passage, in words."""

    value: str
    label: str
    result: str
    chosen: bool


@dataclass(frozen=True)
class Row:
    """One part of the merge and whose change it is; `hidden` is folded away.

    `name` and `choices` are those of a contested part.
    """

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
        """How much is folded away."""
        count = len(self.hidden.split())
        return f"{count:,} unchanged word{'' if count == 1 else 's'}"


@dataclass(frozen=True)
class Panel:
    """All of a merge: the text, the settings that anybody changed by their labels, how much is asked, and in words
    what was not."""

    text: tuple[Row, ...]
    settings: dict[str, Row]
    questions: int
    by_itself: str


def panel(merge: Merge, theirs: str, chosen: Mapping[str, str]) -> Panel:
    """The merge to be shown. `theirs` names the other side, such as "v13"; `chosen` is what was chosen before."""
    names = {id(part): name for name, part in merge.contested.items()}
    text = tuple(_row(part, names.get(id(part), ""), theirs, chosen) for part in merge.parts)
    settings = {
        SETTINGS[name].label: _row(part, names.get(id(part), ""), theirs, chosen, told=shown)
        for name, part in merge.settings.items()
        if part.kind != "same"
    }
    counts = Counter(row.kind for row in (*text, *settings.values()))
    sides: list[tuple[Kind, str]] = [("mine", "of yours"), ("theirs", f"of {theirs}"), ("agreed", "that both made")]
    told = [f"{counts[kind]:,} edit{'' if counts[kind] == 1 else 's'} {whose}" for kind, whose in sides if counts[kind]]
    return Panel(text, settings, len(names), ", ".join(told))


def _row(part: Part, name: str, theirs: str, chosen: Mapping[str, str], told: Any = str) -> Row:
    base = told(part.base)
    whose = {"mine": "yours", "theirs": theirs, "agreed": "both"}.get(part.kind, "")
    if part.kind == "contested":
        labels = {"mine": "Yours", "theirs": theirs, "both": "Both, yours first"}
        choices = (
            Choice(value, labels[value], told(result).strip(), chosen.get(name) == value)
            for value, result in part.choices.items()
        )
        return Row("contested", whose, base, "", name, tuple(choices))
    merged = told(part.merged)
    if part.kind == "same" and len(merged) > LONG:
        start = merged.rfind(" ", 0, SHOWN) + 1 or SHOWN
        end = merged.find(" ", len(merged) - SHOWN) + 1 or len(merged) - SHOWN
        return Row("same", whose, base, merged[:start], hidden=merged[start:end], end=merged[end:])
    return Row(part.kind, whose, base, merged)
