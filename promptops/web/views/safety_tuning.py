"""Trying texts on the safety filter, and changing what it blocks, with its effect on past runs shown before."""

from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from promptops import live
from promptops.engine.safety.guard import SafetyVerdict, VerdictDecision
from promptops.engine.snapshot import SafetySpec
from promptops.enums import Permission, SafetyMode, SafetySide
from promptops.models import Run
from promptops.queries import runs as run_queries
from promptops.text import whole_number
from promptops.web.access import requires


@dataclass(frozen=True)
class Word:
    """A word of a text that was judged; `decided` marks those that the verdict names."""

    text: str
    decided: bool


@dataclass(frozen=True)
class ScoreRow:
    """A category's score beside its threshold; without one it never blocks."""

    category: str
    score: float
    threshold: float | None

    @property
    def over(self) -> bool:
        return self.threshold is not None and self.score >= self.threshold


@requires(Permission.EDIT)
def try_text(request: HttpRequest) -> HttpResponse:
    """What the live filter says of a text; nothing is stored. The text of a run is offered unless it is masked."""
    if request.method == "POST":
        text = request.POST.get("text", "").replace("\r\n", "\n")
        context = _judged(text) if text.strip() else {"error": "Type or paste a text first."}
        if request.htmx:
            return render(request, "safety/_verdict.html", context)
        return render(request, "safety/try.html", context | {"text": text})
    return render(request, "safety/try.html", _of_run(request))


def _judged(text: str) -> dict[str, Any]:
    spec = live.current().safety
    verdict = spec.guard.check_beside(text)
    thresholds = spec.policy.thresholds
    scores = [ScoreRow(name.value, score, thresholds.get(name)) for name, score in verdict.scores.items()]
    deciding = set(verdict.words)
    return {
        "spec": spec,
        "verdict": verdict,
        "stopped": spec.mode == SafetyMode.ENFORCE and spec.stops(verdict),
        "meaning": _meaning(spec, verdict),
        "scores": sorted(scores, key=lambda row: -row.score / (row.threshold or 1)),
        "window": [Word(word, word in deciding) for word in verdict.window.split()],
        "normalized": [Word(word, word in deciding) for word in verdict.normalized.split()],
    }


def _meaning(spec: SafetySpec, verdict: SafetyVerdict) -> str:
    """What becomes of a run with this text, as the filter is set now."""
    if spec.mode == SafetyMode.OFF:
        return "The filter is off: a run with this text is not judged."
    if spec.mode == SafetyMode.ENFORCE:
        return "A run with this text is withheld." if spec.stops(verdict) else "A run with this text passes."
    if verdict.decision is VerdictDecision.ALLOW or not spec.stops(verdict):
        return "A run with this text passes."
    return "In shadow a run with this text passes; where the filter is enforced it is withheld."


def _of_run(request: HttpRequest) -> dict[str, Any]:
    """What the page shows of the run in the address, if there is one."""
    if "run" not in request.GET:
        return {}
    try:
        run = run_queries.found(whole_number(request.GET["run"]) or 0)
    except Run.DoesNotExist:
        raise Http404 from None
    side = SafetySide.OUTPUT if request.GET.get("side") == SafetySide.OUTPUT else SafetySide.INPUT
    masked = getattr(run, f"{side}_masked")
    return {"run": run, "side": side, "masked": masked, "text": "" if masked else getattr(run, side)}
