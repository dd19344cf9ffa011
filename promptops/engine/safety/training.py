"""Training a model: from a rubric to a new version with thresholds that is compared, and then released or refused.

A fifth of the rubric, chosen by the texts' own hashes, is never trained on: models are compared on it. Thresholds are
set on all texts: a model for each of the other fifths, trained without it, scores the texts that the new model knows.
Fitting is fitting.py's work, figures are measures.py's. `promptops.safety` decides what goes live in the product.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptops.engine.safety.fasttext_classifier import LoadedModel, SafetyModel
from promptops.engine.safety.fitting import Fitter, OnStep, Step
from promptops.engine.safety.manifests import SHIPPED, ModelSpec, read_manifest
from promptops.engine.safety.measures import Metrics, measure, pick_thresholds, worse_than
from promptops.engine.safety.normalize import words
from promptops.engine.safety.rubric import FOLDS, LABELS, RUBRIC, Row, read_rubric
from promptops.engine.safety.verdicts import SafetyCategory

TARGET = 0.005
"""The share of the rubric's ordinary harmless texts that thresholds may block."""
_FEWEST = 20
"""Harmless held-out texts, and harmful ones, that setting a threshold needs."""


class NotPromoted(Exception):
    """The new model is worse than the one in use, which stays. The message has both figures."""


@dataclass(frozen=True)
class Trained:
    """The result of a training: the version's manifest, its figures, and those of the model in use before."""

    manifest: Path
    version: str
    metrics: Metrics
    before: Metrics | None
    changed: bool


def train(
    rubric: str | os.PathLike[str] = RUBRIC,
    folder: str | os.PathLike[str] = SHIPPED,
    *,
    target: float = TARGET,
    promote_worse: bool = False,
    on_step: OnStep = lambda step: None,
) -> Trained:
    """Train on the rubric, write a new version into `folder` and make it current. Calls `on_step` with every step.

    Raises `NotPromoted` if the version is worse on the held-out texts than the current model (the folder's, otherwise
    the one that ships). The version is written all the same, and `promote()` can still choose it.
    """
    on_step(Step.NORMALIZE)
    rows, folder = read_rubric(rubric), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    held = [row for row in rows if row.held_out]
    for sort, count in Counter(row.harmful for row in held if row.harmful or row.ordinary).items():
        if count < _FEWEST:
            raise ValueError(
                f"The rubric holds out {count} {'harmful' if sort else 'harmless'} texts; {_FEWEST} are needed"
            )
    if {row.harmful for row in held} != {True, False}:
        raise ValueError("The rubric needs harmful and harmless texts")
    fitter = Fitter()
    data = fitter.fit([row for row in rows if not row.held_out], on_step)
    digest = hashlib.sha256(data).hexdigest()
    current = current_manifest(folder)
    on_step(Step.EVALUATE)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        candidate = Path(scratch) / "candidate.ftz"
        candidate.write_bytes(data)
        used = {row.label for row in rows if not row.held_out}
        labels = {label: category for label, category in LABELS.items() if label in used}
        scores = _score(_load(ModelSpec(candidate, labels)), held)
    spec = read_manifest(current) if current else None
    old, _ = SafetyModel(spec).get() if spec else (None, None)
    on_step(Step.THRESHOLDS)
    unseen = [(row, score) for row, score in zip(held, scores, strict=True)]
    unseen += [pair for fold in range(1, FOLDS) for pair in cross_validated(rows, fold, labels, fitter)]
    thresholds = pick_thresholds([score for _, score in unseen], [row for row, _ in unseen], target)
    metrics = measure(scores, held, thresholds)
    before = _measure_as_strict(old, held, metrics) if old else None
    if spec and current and spec.sha256 == digest and spec.thresholds == thresholds and current.parent == folder:
        return Trained(current, spec.version, metrics, metrics, changed=False)
    description = {
        "labels": labels,
        "sha256": digest,
        "thresholds": thresholds,
        "target_over_block": target,
        "rubric_sha256": hashlib.sha256(Path(rubric).read_bytes()).hexdigest(),
        "texts": len(rows),
        "held_out": vars(metrics),
    }
    manifest = _write_version(folder, data, description)
    version = read_manifest(manifest).version
    if before and not promote_worse and (worse := worse_than(metrics, before)):
        raise NotPromoted(f"Version {version} is worse on the held-out texts ({worse}), so it is not used")
    promote(manifest)
    return Trained(manifest, version, metrics, before, changed=True)


def promote(manifest: str | os.PathLike[str]) -> None:
    """Make the version of this manifest its folder's current one. Raises `ValueError` if it cannot be used."""
    manifest = Path(manifest)
    _load(read_manifest(manifest))
    _write(manifest.parent / "current.json", manifest.read_bytes())


def current_manifest(folder: str | os.PathLike[str]) -> Path | None:
    """Return the manifest of the model in use: the folder's, otherwise the one that ships with PromptOps."""
    manifests = (path / "current.json" for path in (Path(folder), SHIPPED))
    return next((path for path in manifests if path.exists()), None)


def _score(model: LoadedModel, rows: Sequence[Row]) -> list[dict[SafetyCategory, float]]:
    return [model.read(words(row.text)).scores for row in rows]


def cross_validated(
    rows: Sequence[Row], fold: int, labels: Mapping[str, SafetyCategory | None], fitter: Fitter
) -> list[tuple[Row, dict[SafetyCategory, float]]]:
    """Return the texts of one fifth with the scores of a model that was trained on the other four."""
    parts: tuple[list[Row], list[Row]] = ([], [])
    for row in rows:
        if row.label in labels:
            parts[row.fold == fold].append(row)
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "fold.ftz"
        model.write_bytes(fitter.fit(parts[False]))
        return list(zip(parts[True], _score(_load(ModelSpec(model, labels, probes=())), parts[True]), strict=True))


def _measure_as_strict(model: LoadedModel, held: Sequence[Row], metrics: Metrics) -> Metrics:
    """Return another model's figures at its own thresholds or, if those block more ordinary texts than in `metrics`,
    at one that blocks as many: looser thresholds would find more."""
    scores = _score(model, held)
    if set(model.thresholds) == set(model.categories):
        figures = measure(scores, held, model.thresholds)
        if figures.over_block <= metrics.over_block:
            return figures
    ranked = sorted((max(one.values()) for one, row in zip(scores, held, strict=True) if row.ordinary), reverse=True)
    count = round(metrics.over_block * len(ranked))
    threshold = ranked[count - 1] if count else min(1.0, ranked[0] + 1e-6)
    return measure(scores, held, dict.fromkeys(sorted(scores[0]), threshold))


def _load(spec: ModelSpec) -> LoadedModel:
    model, failure = SafetyModel(spec).get()
    if model is None:
        raise ValueError(failure)
    return model


def _write_version(folder: Path, data: bytes, description: Mapping[str, Any]) -> Path:
    """Write the model and its manifest under the next free number, and return the manifest's path."""
    taken = [int(path.stem.removeprefix("model-")) for path in folder.glob("model-*.ftz") if path.stem[6:].isdecimal()]
    number = max(taken, default=0) + 1
    while True:
        model = folder / f"model-{number}.ftz"
        try:
            _write(model, data, new=True)
            break
        except FileExistsError:  # another training was faster
            number += 1
    manifest = model.with_suffix(".json")
    full = {"version": str(number), "file": model.name, **description}
    _write(manifest, (json.dumps(full, indent=1) + "\n").encode())
    return manifest


def _write(path: Path, data: bytes, *, new: bool = False) -> None:
    """Write the whole file or nothing; with `new`, raise `FileExistsError` instead of replacing a file."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        if new:
            os.link(name, path)
        else:
            os.replace(name, path)
            name = ""
    finally:
        if name:
            os.unlink(name)
