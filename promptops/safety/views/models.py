"""The page of the safety filter's models: their figures, training a new one, and making one live."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from promptops.engine.safety.fitting import Step
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.people.enums import Permission
from promptops.safety import changes as safety_changes
from promptops.safety import guards
from promptops.safety.actions import filter_settings as actions
from promptops.safety.actions import training as safety_training
from promptops.safety.changes import FilterChange
from promptops.safety.enums import TrainingState
from promptops.safety.models import SafetyModelVersion, SafetySettings, SafetyTraining
from promptops.safety.queries import filter_state, model_versions, past, review_queue
from promptops.safety.queries.retraining import retraining
from promptops.texts.numbers import whole_number
from promptops.web import review
from promptops.web.access import actor, refused, requires
from promptops.web.request import Request
from promptops.web.review import Change

FIGURES = (
    ("AUROC", "auroc", "{:.3f}"),
    ("Recall", "recall", "{:.1%}"),
    ("Ordinary texts blocked", "over_block", "{:.1%}"),
    ("Hard negatives blocked", "over_block_hard", "{:.1%}"),
)
"""The figures on held-out texts: label, field of the manifest, and format."""
FIGURE = re.compile(r"\d+(\.\d+)?%?|–")
STEPS = {
    Step.NORMALIZE: "Read the texts",
    Step.TRAIN: "Train",
    Step.QUANTIZE: "Shrink the model",
    Step.EVALUATE: "Evaluate",
    Step.THRESHOLDS: "Choose thresholds",
    Step.COMPARE: "Test on other texts",
}


@dataclass
class UseModel(FilterChange):
    """Making another model of the filter live, a newer or an older one."""

    config: SafetySettings
    version: SafetyModelVersion
    expected: str
    form_id = "model-live"
    template = "_review_form.html"

    @property
    def title(self) -> str:
        return f"Make model {self.version.number} live"

    @property
    def confirm(self) -> str:
        return f"Make model {self.version.number} live"

    @property
    def page(self) -> str:
        return reverse("safety_models")

    @property
    def is_live(self) -> bool:
        return self.config.model_id == self.version.pk

    def changes(self) -> list[Change]:
        return [] if self.is_live else _changes(self.config, self.version)

    def details(self) -> dict[str, Any]:
        action = reverse("safety_model_live", args=[self.version.number])
        return {"action": action, "values": [("expected", self.expected)]}

    def preview(self) -> dict[str, Any]:
        policy = guards.policy_of(self.config, filter_state.terms(), self.version)
        return {"warning": safety_changes.self_test(self.version, policy)}

    def refusal(self) -> str:
        return f"Model {self.version.number} is already live." if self.is_live else ""

    def apply(self, *, by: Actor, note: str) -> None:
        seen = whole_number(self.expected)
        config = actions.use_model(self.version, by=by, expected=-1 if seen is None else seen, note=note)
        self.revision = config.changed_revision

    def result(self) -> str:
        return f"r{self.revision} is live, with model {self.version.number}."

    def undo(self) -> str:
        return f"To undo, make model {self.config.model.number} live again."


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """Show all models with their figures, and the live model's figures on the evaluation sets."""
    config, versions = filter_state.set_now(), model_versions.versions()
    changed = _retraining(config, versions, past.LONG_BUDGET_SECONDS if "score" in request.GET else past.BUDGET_SECONDS)
    if request.htmx and "score" in request.GET:
        return render(request, "safety/_retraining.html", changed)
    rows = [
        {
            "version": version,
            "live": version.pk == config.model_id,
            "figures": _figures(version),
            "measured_on": _measured_on(version.manifest.get("held_out") or {}),
        }
        for version in versions
    ]
    evaluation = model_versions.figures_of(config.model)
    context = (
        _training_card(config)
        | changed
        | {
            "rows": rows,
            "arrived": model_versions.shipped_later(config.model),
            "evaluation": evaluation,
            "sources": _sources(evaluation),
            "stopped": model_versions.stopped(evaluation) if evaluation else None,
            "tables": _tables(evaluation),
            "second": model_versions.second_head(),
        }
    )
    return render(request, "safety/models.html", context)


@requires(Permission.READ)
def training(request: Request) -> HttpResponse:
    """Show the last training; a POST starts another one, which continues after the page is closed."""
    if request.method != "POST":
        return _training(request)
    if not request.user.may(Permission.RELEASE):
        raise refused(request, Permission.RELEASE)
    return _training(request, lambda: safety_training.start(by=actor(request)))


@requires(Permission.RELEASE)
@require_POST
def cancel(request: Request, pk: int) -> HttpResponse:
    """Cancel a training; nothing of it is saved."""
    row = SafetyTraining.objects.filter(pk=pk).first()
    if row is None:
        raise Http404
    return _training(request, lambda: safety_training.cancel(row, by=actor(request)))


def _training(request: Request, act: Callable[[], object] = lambda: None) -> HttpResponse:
    """Act, then show the last training and the reason if the action was refused."""
    error = ""
    try:
        act()
    except Refused as refusal:
        error = str(refusal)
    if not request.htmx:
        return redirect("safety_models")
    config = filter_state.set_now()
    return render(
        request, "safety/_training.html", _training_card(config) | {"error": error}, status=409 if error else 200
    )


def _training_card(config: SafetySettings) -> dict[str, Any]:
    """Return the context of the last training's card: its steps, its outcome and the next action."""
    last = model_versions.newest_training()
    running = last is not None and last.state == TrainingState.RUNNING
    steps = list(STEPS)
    at = steps.index(Step(last.step)) if last and running and last.step in steps else 0
    same = last.version if last and last.state == TrainingState.SAME else None
    return {
        "config": config,
        "training": last,
        "running": running,
        "steps": [
            (name, "done" if place < at else "now" if place == at else "") for place, name in enumerate(STEPS.values())
        ],
        "done": at,
        "examples": review_queue.example_count(),
        "thresholds": urlencode(last.thresholds) if last and same and same.pk == config.model_id else "",
    }


@requires(Permission.RELEASE)
@require_POST
def make_live(request: Request, number: int) -> HttpResponse:
    """Review and release the filter with another model, a newer or an older one."""
    config = filter_state.set_now()
    version = next((one for one in model_versions.versions() if one.number == number), None)
    if version is None:
        raise Http404
    return review.run(request, UseModel(config, version, request.POST.get("expected", "")))


def _retraining(config: SafetySettings, versions: list[SafetyModelVersion], budget: float) -> dict[str, Any]:
    """Return the context of the card about the newest version and the one before it; empty without two versions."""
    if len(versions) < 2:
        return {}
    newer, older = versions[:2]
    return {"changed": retraining(config, older, newer, budget), "beside": _beside(older, newer)}


def _figures(version: SafetyModelVersion) -> list[tuple[str, str]]:
    held_out = version.manifest.get("held_out") or {}
    return [(name, _formatted(held_out, field, pattern)) for name, field, pattern in FIGURES]


def _formatted(held_out: dict[str, Any], field: str, pattern: str) -> str:
    return pattern.format(held_out[field]) if field in held_out else "–"


def _held_out(version: SafetyModelVersion, other: SafetyModelVersion) -> dict[str, Any]:
    """Return the version's figures on held-out texts; on the same texts as the other's, if measured in its training."""
    beside = other.manifest.get("beside") or {}
    return (beside if beside.get("model") == version.number else version.manifest).get("held_out") or {}


def _sources(evaluation: dict[str, Any] | None) -> str:
    """Return the sources of an evaluation with the number of their texts."""
    counts: dict[str, int] = {}
    for row in evaluation["tables"].get("By source", []) if evaluation else []:
        counts[row["source"]] = counts.get(row["source"], 0) + row["texts"]
    return ", ".join(f"{count:,} of {source}" for source, count in counts.items())


def _tables(evaluation: dict[str, Any] | None) -> list[tuple[str, set[str], list[dict[str, Any]]]]:
    """Return each table of an evaluation: its title, the columns that have only figures, and its rows."""
    tables = []
    for title, rows in evaluation["tables"].items() if evaluation else ():
        columns = rows[0] if rows else ()
        figures = {name for name in columns if all(FIGURE.fullmatch(str(row[name])) for row in rows)}
        tables.append((title, figures, rows))
    return tables


def _measured_on(held_out: dict[str, Any]) -> str:
    if not held_out:
        return "–"
    return f"{held_out['harmful']:,} harmful and {held_out['harmless']:,} harmless held-out texts"


def _changes(config: SafetySettings, version: SafetyModelVersion) -> list[Change]:
    """Return the model's figures and thresholds before and after; thresholds that operators set do not change."""
    before = config.model
    old, new = ({**each.manifest.get("thresholds", {}), **config.thresholds} for each in (before, version))
    return [
        Change("Model", before.number, version.number),
        *_beside(before, version),
        *_by_category("Threshold of", old, new, "{:.4f}"),
    ]


def _beside(before: SafetyModelVersion, after: SafetyModelVersion) -> list[Change]:
    """Return the figures of two models on held-out texts, on the same ones if the newer training measured both."""
    old, new = _held_out(before, after), _held_out(after, before)
    recall, new_recall = (side.get("recall_by_category", {}) for side in (old, new))
    return [
        Change("Measured on", _measured_on(old), _measured_on(new)),
        *(Change(name, *(_formatted(side, field, pattern) for side in (old, new))) for name, field, pattern in FIGURES),
        *_by_category("Recall of", recall, new_recall, "{:.1%}"),
    ]


def _by_category(label: str, old: dict[str, float], new: dict[str, float], pattern: str) -> list[Change]:
    """Return a figure of two models for each category that one of them has."""
    return [
        Change(
            f"{label} {name.replace('_', '-')}",
            *(pattern.format(side[name]) if name in side else "–" for side in (old, new)),
        )
        for name in sorted({*old, *new})
    ]
