"""The models of the safety filter, their figures, and the training of the next one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptops.engine.safety.evaluation import read_figures
from promptops.engine.safety.guard import SHIPPED
from promptops.engine.safety.second_stage import Head, shipped_head
from promptops.safety import guards
from promptops.safety.enums import TrainingState
from promptops.safety.models import LOST, SafetyModelVersion, SafetyTraining


def versions() -> list[SafetyModelVersion]:
    """Return all models, the newest first, without their files."""
    return list(SafetyModelVersion.objects.defer("data"))


def shipped_later(live: SafetyModelVersion) -> SafetyModelVersion | None:
    """Return the model that ships with this version of PromptOps if it was added after the live one."""
    sha256, _ = guards.shipped_model()
    return SafetyModelVersion.objects.filter(sha256=sha256, number__gt=live.number).defer("data").first()


def newest_training() -> SafetyTraining | None:
    """Return the last training that somebody started on a page; it failed if its server ended. One query."""
    newest = SafetyTraining.objects.select_related("version").defer("version__data").first()
    if newest and newest.lost:
        newest.state, newest.said = TrainingState.FAILED, LOST
    return newest


def figures_of(version: SafetyModelVersion) -> dict[str, Any] | None:
    """Return the model's figures on the evaluation sets: `tables` by title; None if it was not evaluated.

    The file beside the model that ships covers one more set, which is not in the repository.
    """
    if evaluation := version.manifest.get("evaluation"):
        return dict(evaluation)
    file = Path(str(version.manifest.get("file"))).name
    return read_figures((SHIPPED / file).with_suffix(".evaluation.json"), version.sha256)


def second_head() -> Head | None:
    """Return the head of the second stage that ships, with its figures; None if its file cannot be read."""
    try:
        return shipped_head()
    except ValueError:  # the Safety page says so
        return None


@dataclass(frozen=True)
class Stopped:
    """The number of texts of one kind that the filter stops."""

    count: int
    of: int

    @property
    def share(self) -> float | None:
        """Return the share, None without texts."""
        return self.count / self.of if self.of else None


def stopped(evaluation: dict[str, Any]) -> dict[str, Stopped]:
    """Return what an evaluation stopped, by kind: `harmful` texts, `ordinary` prompts, and `hard` harmless texts.

    Hard texts are the harmless ones of a source that has harmful ones, too: they use the same words.
    """
    rows = evaluation["tables"].get("By source", [])
    with_harm = {row["source"] for row in rows if row["kind"] == "harmful"}
    kinds: dict[str, list[dict[str, Any]]] = {"harmful": [], "ordinary": [], "hard": []}
    for row in rows:
        harmless = "hard" if row["source"] in with_harm else "ordinary"
        kinds["harmful" if row["kind"] == "harmful" else harmless].append(row)
    return {
        kind: Stopped(sum(row["stopped"] for row in of_kind), sum(row["texts"] for row in of_kind))
        for kind, of_kind in kinds.items()
    }
