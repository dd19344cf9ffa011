"""The rubric: labeled texts that a model is trained and measured on, and reading them from a file."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from promptops.engine.safety.manifests import SHIPPED
from promptops.engine.safety.normalize import words
from promptops.engine.safety.verdicts import SafetyCategory

RUBRIC = SHIPPED.parent / "rubric.tsv"
"""The rubric that ships with PromptOps."""
HARD = "hard_negative"
"""The kind of harmless texts that sound harmful. They set no threshold, because real prompts are rarely like them."""
FOLDS = 5
"""The rubric's texts are cross-validated in this many parts."""
HARMLESS = "safe"
_HARMFUL = "unsafe"
_HEADER = ["label", "category", "text"]
LABELS: dict[str, SafetyCategory | None] = {HARMLESS: None, **{category.value: category for category in SafetyCategory}}


@dataclass(frozen=True)
class Row:
    """A line of a rubric. `kind` is the category of a harmful text; for a harmless one, any word that describes it."""

    harmful: bool
    kind: str
    text: str

    @property
    def fold(self) -> int:
        """The fifth (0 to 4) of the rubric that the text is in. Its own hash decides, in every version."""
        return hashlib.sha256(self.text.encode()).digest()[0] % FOLDS

    @property
    def held_out(self) -> bool:
        """True if no model is trained on the text: it is in the first fifth."""
        return self.fold == 0

    @property
    def ordinary(self) -> bool:
        """True for a harmless text that thresholds should let pass, as a prompt of everyday use."""
        return not self.harmful and self.kind != HARD

    @property
    def label(self) -> str:
        """The model's label for the text."""
        return self.kind if self.harmful else HARMLESS


def read_rubric(path: str | os.PathLike[str], pause: Callable[[], object] = lambda: None) -> list[Row]:
    """Read the rows of a rubric (tab-separated: label, category, text). `ValueError` names the line that is wrong.

    `pause` is called between the steps of reading each text.
    """
    rows, seen = [], set()
    with open(path, encoding="utf-8", newline="") as file:
        lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if next(lines, None) != _HEADER:
            raise ValueError("The first line of a rubric is: label, category, text (separated by tabs)")
        for number, line in enumerate(lines, start=2):
            if len(line) != len(_HEADER):
                raise ValueError(f"Line {number} of the rubric has {len(line)} columns; it needs {len(_HEADER)}")
            label, kind, text = line
            if label not in (HARMLESS, _HARMFUL):
                raise ValueError(f'Line {number} of the rubric: the label is "{label}"; it must be safe or unsafe')
            if label == _HARMFUL and kind not in LABELS.keys() - {HARMLESS}:
                raise ValueError(
                    f'Line {number} of the rubric: "{kind}" is no category; use {", ".join(SafetyCategory)}'
                )
            plain = " ".join(words(text, pause))
            if not plain:
                raise ValueError(f"Line {number} of the rubric has no words")
            if plain in seen:
                raise ValueError(f"Line {number} of the rubric repeats another line")
            seen.add(plain)
            rows.append(Row(label == _HARMFUL, kind, text))
    return rows
