"""The safety filter's models: how good each is, and making another one live."""

from typing import Any

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST

from promptops import guards
from promptops.actions import safety as actions
from promptops.actions import safety_training
from promptops.actions.errors import Refused, Stale
from promptops.engine.safety.guard import SafetyGuard
from promptops.enums import Permission
from promptops.models import SafetyModelVersion, SafetySettings
from promptops.queries import safety as queries
from promptops.text import whole_number
from promptops.web import review
from promptops.web.access import actor, requires
from promptops.web.review import Change

FIGURES = (
    ("AUROC", "auroc", "{:.3f}"),
    ("Recall", "recall", "{:.1%}"),
    ("Ordinary texts blocked", "over_block", "{:.1%}"),
    ("Hard negatives blocked", "over_block_hard", "{:.1%}"),
)
"""What is told of the held-out texts: the name, the field of the manifest, and how it is written."""


@requires(Permission.READ)
def index(request: HttpRequest) -> HttpResponse:
    """All models with their figures, and what the live one does with the evaluation sets."""
    config = queries.set_now()
    rows = [
        {"version": version, "live": version.pk == config.model_id, "figures": _figures(version)}
        for version in queries.versions()
    ]
    context = {
        "config": config,
        "rows": rows,
        "names": [name for name, _, _ in FIGURES],
        "examples": queries.example_count(),
        "evaluation": queries.figures_of(config.model),
    }
    return render(request, "safety/models.html", context)


@requires(Permission.RELEASE)
@require_POST
def train(request: HttpRequest) -> HttpResponse:
    """Train a new model from the rubric and what people reviewed, then review making it live. Takes seconds."""
    try:
        version = safety_training.train(by=actor(request))
    except Refused as refused:
        title = "Not trained" if "worse" not in str(refused) else "Not kept"
        return review.panel(
            request, title=title, confirm="", form_id="", template="safety/_not_trained.html", error=str(refused)
        )
    config = queries.set_now()
    asked = _asked(config, version, str(config.changed_revision))
    return review.panel(request, warning=_warning(config, version), **asked)


@requires(Permission.RELEASE)
@require_POST
def make_live(request: HttpRequest, number: int) -> HttpResponse:
    """Review and release the filter with another model, a newer or an older one."""
    config = queries.set_now()
    version = next((one for one in queries.versions() if one.number == number), None)
    if version is None:
        raise Http404
    expected = request.POST.get("expected", "")
    asked = _asked(config, version, expected)
    if config.model_id == version.pk:
        return review.panel(request, error=f"Model {number} is live already.", **asked)
    if not review.confirmed(request):
        return review.panel(request, warning=_warning(config, version), **asked)
    try:
        seen = whole_number(expected)
        done = actions.use_model(
            version, by=actor(request), expected=-1 if seen is None else seen, note=review.note(request)
        )
    except (Refused, Stale, ValidationError) as error:
        sentence = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
        return review.panel(request, error=sentence, **asked)
    told = f"r{done.changed_revision} is live, with model {number}. To undo, make model {config.model.number} current."
    return review.done(request, reverse("safety_models"), told)


def _asked(config: SafetySettings, version: SafetyModelVersion, expected: str) -> dict[str, Any]:
    """What the panel shows that makes the model live."""
    return {
        "title": f"Make model {version.number} current",
        "confirm": f"Make model {version.number} current",
        "form_id": "model-live",
        "changes": _changes(config, version),
        "template": "_review_form.html",
        "action": reverse("safety_model_live", args=[version.number]),
        "values": [("expected", expected)],
    }


def _warning(config: SafetySettings, version: SafetyModelVersion) -> str:
    policy = guards.policy_of(config, queries.terms(), version)
    problems = SafetyGuard(guards.model_of(version), policy).self_test()
    return f"With this the filter fails its self-test: {'. '.join(problems)}." if problems else ""


def _figures(version: SafetyModelVersion) -> list[str]:
    held_out = version.manifest.get("held_out") or {}
    return [pattern.format(held_out[field]) if field in held_out else "–" for _, field, pattern in FIGURES]


def _changes(config: SafetySettings, version: SafetyModelVersion) -> list[Change]:
    """The model's figures and thresholds before and after; thresholds that were set stay."""
    before, after = config.model, version
    found = [Change("Model", before.number, after.number)]
    found += [
        Change(name, *pair)
        for (name, _, _), pair in zip(FIGURES, zip(_figures(before), _figures(after), strict=True), strict=True)
    ]
    for which in ("recall_by_category", "thresholds"):
        old, new = (
            (version.manifest.get("held_out") or {}).get(which, {})
            if which != "thresholds"
            else {**version.manifest.get("thresholds", {}), **config.thresholds}
            for version in (before, after)
        )
        for name in sorted({*old, *new}):
            label = name.replace("_", "-")
            label = f"Recall of {label}" if which != "thresholds" else f"Threshold of {label}"
            pattern = "{:.1%}" if which != "thresholds" else "{:.4f}"
            found.append(Change(label, *(pattern.format(side[name]) if name in side else "–" for side in (old, new))))
    return found
