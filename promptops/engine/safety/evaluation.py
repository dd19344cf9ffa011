"""Evaluating a model on texts from elsewhere that it was never trained on: figures per source, and disguises.

Figures on the rubric's held-out texts belong to measures.py.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptops.engine.safety.classifier import ClassifierSource, SafetyClassifier
from promptops.engine.safety.disguises import DISGUISES
from promptops.engine.safety.guard import SafetyGuard
from promptops.engine.safety.measures import auroc, margin
from promptops.engine.safety.normalize import words
from promptops.engine.safety.verdicts import SafetyVerdict, VerdictDecision

SETS = Path(__file__).parent / "data" / "evaluation"
"""The folder of texts from elsewhere. New models are evaluated on them, and never trained on them."""


@dataclass(frozen=True)
class Labeled:
    """A text with its source, its sort in that source, and its label."""

    source: str
    sort: str
    text: str
    harmful: bool


VIDEO, ENHANCED, IMAGE = "video prompts", "enhanced video prompts", "image prompts"
XSTEST, MODERATION = "XSTest", "moderation"
UNJUDGED = (VerdictDecision.UNAVAILABLE, VerdictDecision.TOO_LONG)


def read_sets(folder: Path, moderation: Path | None = None) -> list[Labeled]:
    """Read the evaluation sets in `folder` (see its README), and the moderation set, if its file is installed."""

    def table(name: str) -> list[list[str]]:
        with (folder / name).open(encoding="utf-8", newline="") as file:
            return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]

    videos = table("video_prompts.tsv")
    texts = [Labeled(VIDEO, "prompt", row[0], False) for row in videos]
    texts += [Labeled(ENHANCED, "enhanced", row[1], False) for row in videos]
    texts += [Labeled(IMAGE, row[1], row[0], False) for row in table("image_prompts.tsv")]
    texts += [Labeled(XSTEST, row[2], row[0], row[1] == "unsafe") for row in table("xstest.tsv")]
    if moderation:
        for line in moderation.read_text(encoding="utf-8").splitlines():
            item = json.loads(line)
            sort = "+".join(item["categories"]) or "none"
            texts.append(Labeled(MODERATION, sort, item["prompt"], item["label"] == "unsafe"))
    return texts


@dataclass(frozen=True)
class Judged:
    """A text with its verdict; `height` is its distance over the nearest threshold, in log-odds."""

    item: Labeled
    verdict: SafetyVerdict
    height: float

    @property
    def stopped(self) -> bool:
        """True if an enforced filter that fails closed stops the text: blocked, too long or not judged."""
        return self.verdict.decision is not VerdictDecision.ALLOW


def judge(guard: SafetyGuard, model: SafetyClassifier, texts: Iterable[Labeled]) -> list[Judged]:
    """Judge every text, and return the texts with their verdicts."""
    judged = []
    for item in texts:
        height = margin(model.read(words(item.text)).scores, model.thresholds)
        judged.append(Judged(item, guard.check(item.text), height))
    return judged


Table = list[dict[str, Any]]


def by_group(judged: Iterable[Judged], *names: str) -> Table:
    """Count the stopped texts of every kind, by source, or by source and sort."""
    groups: dict[tuple[str, ...], list[Judged]] = {}
    for one in judged:
        key = (*(getattr(one.item, name) for name in names), "harmful" if one.item.harmful else "harmless")
        groups.setdefault(key, []).append(one)
    return [
        {
            **dict(zip((*names, "kind"), key, strict=True)),
            "texts": len(members),
            "stopped": sum(one.stopped for one in members),
            "not judged or too long": sum(one.verdict.decision in UNJUDGED for one in members),
            "share": f"{sum(one.stopped for one in members) / len(members):.1%}",
        }
        for key, members in sorted(groups.items())
    ]


def by_category(judged: Iterable[Judged]) -> Table:
    """Count the harmless and harmful texts that each of the filter's categories blocks, by source."""
    groups: dict[tuple[str, str], list[int]] = {}
    for one in judged:
        if one.verdict.category:
            counts = groups.setdefault((one.item.source, one.verdict.category.value), [0, 0])
            counts[one.item.harmful] += 1
    return [
        {"source": source, "blocked as": category, "harmless": counts[0], "harmful": counts[1]}
        for (source, category), counts in sorted(groups.items())
    ]


def aurocs(judged: Sequence[Judged]) -> Table:
    """Return the AUROC of harmful against harmless texts, of other sources and of the same source."""
    rows = []
    for source in (XSTEST, MODERATION):
        for against in ((VIDEO, IMAGE), (ENHANCED,), (source,)):
            bad = [one.height for one in judged if one.item.harmful and one.item.source == source]
            good = [one.height for one in judged if not one.item.harmful and one.item.source in against]
            if bad and good:
                rows.append(
                    {
                        "harmful": f"{source} ({len(bad):,})",
                        "harmless": f"{' and '.join(against)} ({len(good):,})",
                        "AUROC": f"{auroc(bad, good):.3f}",
                    }
                )
    return rows


def found_at(texts: Sequence[Labeled], heights: Mapping[str, Sequence[float]], share: float = 0.02) -> Table:
    """Return what is blocked with all thresholds moved by one margin that blocks `share` of the harmless prompts.

    `heights` are those of `Judged.height`, one for each text, by the name of what judged. Prompts are those of
    VIDEO, ENHANCED and IMAGE.
    """
    rows = []
    for name, values in heights.items():
        pairs = list(zip(texts, values, strict=True))
        prompts = sorted(value for text, value in pairs if text.source in (VIDEO, ENHANCED, IMAGE))
        limit = prompts[int(len(prompts) * (1 - share))] if prompts else 0.0
        for source in (XSTEST, MODERATION):
            bad = [value >= limit for text, value in pairs if text.source == source and text.harmful]
            good = [value >= limit for text, value in pairs if text.source == source and not text.harmful]
            if bad and good:
                rows.append(
                    {
                        "judged by": name,
                        "source": source,
                        f"harmful blocked at {share:.0%}": f"{sum(bad) / len(bad):.1%} of {len(bad):,}",
                        "harmless blocked there": f"{sum(good) / len(good):.1%} of {len(good):,}",
                    }
                )
    return rows


def disguises(check: Callable[[str], SafetyVerdict], texts: Iterable[str]) -> Table:
    """Count how many of the texts that `check` blocks stay blocked in each disguise."""
    blocked = [text for text in texts if check(text).decision is VerdictDecision.BLOCK]
    rows = []
    for name, disguise in DISGUISES.items():
        still = sum(check(disguise(text)).decision is VerdictDecision.BLOCK for text in blocked)
        share = still / len(blocked) if blocked else 0.0
        rows.append({"disguise": name, "blocked texts": len(blocked), "still blocked": still, "share": f"{share:.1%}"})
    return rows


def cost(guard: SafetyGuard, texts: Sequence[str], rounds: int = 5) -> float:
    """Return the milliseconds of processor time that a text takes: the mean of the fastest round over all texts."""
    guard.check("warm")
    best = float("inf")
    for _ in range(rounds):
        start = time.thread_time()
        for text in texts:
            guard.check(text)
        best = min(best, time.thread_time() - start)
    return best / len(texts) * 1000


def evaluate(model: ClassifierSource, texts: Sequence[Labeled]) -> dict[str, Any]:
    """Evaluate a model on the texts: `tables` by title, and the `milliseconds` that a video prompt takes."""
    loaded, failure = model.get()
    if loaded is None:
        raise ValueError(failure)
    guard = SafetyGuard(model)
    judged = judge(guard, loaded, texts)
    short = [one.item.text for one in judged if one.item.harmful and len(one.item.text) <= 1000]
    tables = {
        "By source": by_group(judged, "source"),
        "AUROC": aurocs(judged),
        "At 2% of the prompts": found_at(texts, {"first stage": [one.height for one in judged]}),
        "Disguises of harmful texts of at most 1,000 characters": disguises(guard.check, short),
        "By sort": by_group(judged, "source", "sort"),
        "What blocks": by_category(judged),
    }
    prompts = [text.text for text in texts if text.source == VIDEO]
    return {"tables": tables, "milliseconds": round(cost(guard, prompts), 3)}


def as_markdown(table: Table) -> str:
    """Return the table as Markdown."""
    if not table:
        return "(nothing)"
    head = f"| {' | '.join(table[0])} |\n|{'---|' * len(table[0])}"
    return "\n".join([head, *(f"| {' | '.join(str(value) for value in row.values())} |" for row in table)])


def read_figures(path: Path, sha256: str) -> dict[str, Any] | None:
    """Read what `manage.py evaluate_safety --json` wrote for the model with this SHA-256; None if it is missing."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["sha256"] != sha256:
            return None
        return {"tables": dict(content["tables"]), "milliseconds": content["milliseconds"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
