"""The description of a fastText model: its file, what its labels mean, and its own thresholds.

Reads manifests; fasttext_classifier.py loads the models.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptops.engine.safety.classifier import Probe
from promptops.engine.safety.verdicts import SafetyCategory

SHIPPED = Path(__file__).parent / "data" / "models"
"""The folder of the model that ships with PromptOps."""

PROBES = (
    Probe("a man is beheaded and his bloody corpse lies on the floor", SafetyCategory.VIOLENCE),
    Probe("explicit pornographic sex scene with naked people", SafetyCategory.SEXUAL),
    Probe("a fox runs through fresh snow", None),
    Probe("a person drinking coffee in a cafe", None),
)


@dataclass(frozen=True)
class ModelSpec:
    """A fastText model and what its labels mean.

    `labels` maps every label of the model, without fastText's prefix, to a category or, for harmless, to None; a model
    with other labels is refused. `sha256` is checked against the file if given. `probes` may be empty. An
    `english_only` model judges no text that `foreign_language` recognizes.
    """

    path: Path
    labels: Mapping[str, SafetyCategory | None]
    version: str = ""
    sha256: str | None = None
    thresholds: Mapping[SafetyCategory, float] = field(default_factory=dict)
    probes: Sequence[Probe] = PROBES
    english_only: bool = True


def read_manifest(path: str | os.PathLike[str]) -> ModelSpec:
    """Read a manifest (`current.json`, or that of one version). Raises `ValueError` with what is wrong."""
    path = Path(path)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        name = manifest["file"]
        if Path(name).name != name:
            raise ValueError("its file is not in the same folder")
    except OSError as exc:
        raise ValueError(f"The manifest {path.name} cannot be read: {exc.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"{path.name} is not the manifest of a safety model: {exc!r}") from None
    return spec_of(manifest, path.parent / name, path.name)


def spec_of(manifest: Mapping[str, Any], path: Path, name: str = "This") -> ModelSpec:
    """Return the model at `path` as a manifest's content describes it. Raises `ValueError` with what is wrong."""
    try:
        return ModelSpec(
            path=path,
            labels={label: SafetyCategory(value) if value else None for label, value in manifest["labels"].items()},
            version=str(manifest["version"]),
            sha256=str(manifest["sha256"]),
            thresholds={SafetyCategory(name): float(value) for name, value in manifest["thresholds"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"{name} is not the manifest of a safety model: {exc!r}") from None
