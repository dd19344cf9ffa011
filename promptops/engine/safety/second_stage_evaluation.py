"""Evaluating the second stage on texts that it was never trained on: alone, and together with the first stage.

The sets and the first stage's figures belong to evaluation.py.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from promptops.engine.safety.evaluation import SETS, Judged, Labeled, Table, disguises, found_at
from promptops.engine.safety.guard import SafetyGuard
from promptops.engine.safety.second_stage import EVERY, SecondStage, SecondVerdict, height, is_asked, readings, together
from promptops.engine.safety.verdicts import SafetyCategory, SafetyVerdict, VerdictDecision

_BLOCK = VerdictDecision.BLOCK
Thresholds = Mapping[SafetyCategory, float]
EVERY_NTH = 3
"""Every third text is disguised: disguised texts are long, and all of them would take half an hour."""


def evaluate(
    judged: Sequence[Judged],
    second: SecondStage,
    guard: SafetyGuard,
    thresholds: Thresholds,
    folder: Path = SETS,
) -> dict[str, Any]:
    """Return the second stage's `tables` by title, and the `milliseconds` that a text takes.

    `judged` has the texts with the verdicts of the first stage, which is `guard` with these thresholds.

    Raises `ValueError` if the second stage is unavailable.
    """
    if problems := second.self_test():
        raise ValueError(problems[0])
    texts, languages = [one.item for one in judged], folder / "second_stage.tsv"
    verdicts, began = [], time.perf_counter()
    for text in texts:
        verdicts.append(second.judge(text.text))
    milliseconds = (time.perf_counter() - began) / max(1, len(texts)) * 1000
    first = [one.verdict for one in judged]
    # With the first stage's verdict it may read more of a text (`readings`); most texts need no second judgment.
    informed = [
        verdict if len(readings(text.text, one)) == len(readings(text.text)) else second.judge(text.text, first=one)
        for text, verdict, one in zip(texts, verdicts, first, strict=True)
    ]
    both = [
        together(one, verdict, thresholds) if is_asked(EVERY, one, thresholds) else one
        for one, verdict in zip(first, informed, strict=True)
    ]
    by_source = _by_source(texts, {"first stage": first, "second stage": verdicts, "both together": both})
    heights = [height(verdict) for verdict in verdicts]
    combined = [
        verdict.combined.height(one.height, height(verdict)) if verdict.combined else one.height
        for one, verdict in zip(judged, informed, strict=True)
    ]
    short = [text.text for text in texts if text.harmful and len(text.text) <= 1000][::EVERY_NTH]
    return {
        "tables": {
            "Second stage by source (share blocked)": by_source,
            "Second stage at 2% of the prompts": found_at(texts, {"second stage": heights, "both together": combined}),
            "Both stages, disguises of every third harmful text of at most 1,000 characters": disguises(
                lambda text: _together(guard, second, thresholds, text), short
            ),
        }
        | (
            {"Second stage, other languages (texts blocked)": _languages(second, languages)}
            if languages.exists()
            else {}
        ),
        "milliseconds": milliseconds,
    }


def _by_source(texts: Sequence[Labeled], judges: Mapping[str, Sequence[SafetyVerdict | SecondVerdict]]) -> Table:
    """Return the share of the texts of each source and kind that each judge blocks."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, text in enumerate(texts):
        groups.setdefault((text.source, "harmful" if text.harmful else "harmless"), []).append(index)
    return [
        {
            "source": source,
            "kind": kind,
            "texts": len(members),
            **{
                name: _share([verdicts[index].decision is _BLOCK for index in members])
                for name, verdicts in judges.items()
            },
        }
        for (source, kind), members in sorted(groups.items())
    ]


def _together(guard: SafetyGuard, second: SecondStage, thresholds: Thresholds, text: str) -> SafetyVerdict:
    """Return the verdict of both stages on a text, with a second stage that judges all texts and is enforced."""
    verdict = guard.check(text)
    if not is_asked(EVERY, verdict, thresholds):
        return verdict
    return together(verdict, second.judge(text, first=verdict), thresholds)


def _languages(second: SecondStage, path: Path) -> Table:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    counts: dict[str, dict[str, list[bool]]] = {}
    for row in rows:
        found = counts.setdefault(row["language"], {"unsafe": [], "safe": []})
        found[row["label"]].append(second.judge(row["text"]).decision is _BLOCK)
    return [
        {"language": language, **{kind: f"{sum(found)} of {len(found)}" for kind, found in kinds.items()}}
        for language, kinds in counts.items()
    ]


def _share(values: Sequence[bool]) -> str:
    return f"{sum(values) / len(values):.1%}"
