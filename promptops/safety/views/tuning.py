"""Two pages for tuning the safety filter: trying a text, and thresholds with their effect on past runs."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django_htmx.http import replace_url

from promptops.engine.judging import judge_beside
from promptops.engine.safety.guard import SafetyCategory, SafetyPolicy, SafetyVerdict, VerdictDecision
from promptops.engine.snapshot import SafetySpec
from promptops.ledger.audit import Actor
from promptops.live import snapshots as live
from promptops.people.enums import Permission
from promptops.runs.enums import SafetyMode, SafetySide
from promptops.runs.models import Run
from promptops.runs.queries import runs as run_queries
from promptops.runs.queries import verdicts
from promptops.safety import changes as safety_changes
from promptops.safety import guards
from promptops.safety.actions import filter_settings as actions
from promptops.safety.changes import FilterChange
from promptops.safety.forms import ThresholdsForm
from promptops.safety.models import SafetySettings
from promptops.safety.queries import filter_state, past
from promptops.safety.queries.quality import quality
from promptops.safety.queries.replay import replay
from promptops.texts.numbers import whole_number
from promptops.web import review
from promptops.web.access import refused, requires
from promptops.web.request import Request
from promptops.web.review import Change
from promptops.web.seen import changed


@dataclass(frozen=True)
class Word:
    """A word of a judged text; `decided` marks the words that the verdict names."""

    text: str
    decided: bool


@dataclass
class ChangeThresholds(FilterChange):
    """Changing thresholds of the filter."""

    config: SafetySettings
    form: ThresholdsForm
    title = "Change the thresholds"
    confirm = "Release the thresholds"
    form_id = "thresholds"

    @property
    def page(self) -> str:
        return reverse("safety_thresholds")

    def changes(self) -> list[Change]:
        form = self.form
        return [
            Change(str(form.fields[name].label), f"{form.now[name]:.4f}", f"{value:.4f}")
            for name, value in sorted(form.proposed.items())
            if value != form.now[name]
        ]

    def preview(self) -> dict[str, Any]:
        config, form = self.config, self.form
        result = replay(config, form.now, form.proposed, past.LONG_BUDGET_SECONDS)
        unknown = f" ({result.past.waiting:,} of their texts are still to be scored)" if result.past.waiting else ""
        affected = (
            f"Of the newest {safety_changes.runs(result.past.runs)}, these thresholds would have blocked "
            f"{result.then:,}; the present ones, {result.now:,}{unknown}. {review.affected_by_release()}"
        )
        policy = guards.policy_of(config, filter_state.terms())
        policy = SafetyPolicy(
            {SafetyCategory(name): value for name, value in form.proposed.items()},
            policy.allow_terms,
            policy.deny_terms,
        )
        warning = safety_changes.self_test(config.model, policy)
        return {"affected": affected, "warning": warning, "template": "_review_warning.html"}

    def refusal(self) -> str:
        if self.form.cleaned_data["expected"] != self.config.changed_revision:
            return actions.STALE
        return "" if self.changes() else "No changes to release: these thresholds are already live."

    def apply(self, *, by: Actor, note: str) -> None:
        wanted = actions.SafetyChange(thresholds=self.form.stored)
        expected = self.form.cleaned_data["expected"]
        self.revision = actions.change_safety(wanted, by=by, expected=expected, note=note).changed_revision

    def undo(self) -> str:
        was = "; ".join(f"{change.label}: {change.before}" for change in self.changes())
        return f"To undo, roll the filter back on the Safety page (was: {was})."


@requires(Permission.EDIT)
def try_text(request: Request) -> HttpResponse:
    """Show the live filter's verdict on a text; nothing is stored. Fills in the text of a run unless it is masked."""
    if request.method == "POST":
        text = request.POST.get("text", "").replace("\r\n", "\n")
        context = _judged(text) if text.strip() else {"error": "Type or paste a text first."}
        if request.htmx:
            return render(request, "safety/_verdict.html", context)
        return render(request, "safety/try.html", context | {"text": text})
    return render(request, "safety/try.html", _of_run(request))


@requires(Permission.READ)
def thresholds(request: Request) -> HttpResponse:
    """Show the thresholds and the effect of those in the address on past runs; a POST reviews and releases them."""
    config = filter_state.set_now()
    if "seen" in request.GET:
        return changed(request, "the safety filter", config.changed_revision)
    if request.method == "POST":
        return _release_thresholds(request, config)
    form = ThresholdsForm(config, request.GET)
    context: dict[str, Any] = {"config": config, "form": form, "seen": config.changed_revision}
    if form.is_valid():
        proposed = form.proposed
        context |= {
            "replay": replay(config, form.now, proposed, _budget(request)),
            "quality": quality(config.model, form.now, proposed),
            "changed_thresholds": proposed != form.now,
        }
    if not request.htmx:
        return render(request, "safety/thresholds.html", context)
    different = {name: request.GET[name] for name in form.now if name in form.changed_from_now}
    address = f"{request.path}?{urlencode(different)}" if different else request.path
    return replace_url(render(request, "safety/_replay.html", context), address)


def _budget(request: Request) -> float:
    """Return the seconds for scoring past texts: more if the request only continues the scoring."""
    return past.LONG_BUDGET_SECONDS if "score" in request.GET else past.BUDGET_SECONDS


def _release_thresholds(request: Request, config: SafetySettings) -> HttpResponse:
    if not request.user.may(Permission.RELEASE):
        raise refused(request, Permission.RELEASE)
    form = ThresholdsForm(config, request.POST)
    if not form.is_valid():
        panel = {
            "title": ChangeThresholds.title,
            "confirm": ChangeThresholds.confirm,
            "form_id": ChangeThresholds.form_id,
        }
        return safety_changes.refused(request, safety_changes.errors(form), panel)
    return review.run(request, ChangeThresholds(config, form))


def _judged(text: str) -> dict[str, Any]:
    spec = live.current().safety
    verdict, second = judge_beside(spec, text)
    thresholds = {name.value: value for name, value in spec.policy.thresholds.items()}
    deciding = set(verdict.words)
    return {
        "spec": spec,
        "verdict": verdict,
        "second": second,
        "stopped": spec.mode == SafetyMode.ENFORCE and spec.stops(verdict),
        "meaning": _meaning(spec, verdict),
        "thresholds": thresholds,
        "scores": verdicts.score_rows(
            {name.value: score for name, score in verdict.scores.items()}, thresholds, verdict.category or ""
        ),
        "window": [Word(word, word in deciding) for word in verdict.window.split()],
        "normalized": [Word(word, word in deciding) for word in verdict.normalized.split()],
    }


def _meaning(spec: SafetySpec, verdict: SafetyVerdict) -> str:
    """Return the effect on a run with this text under the present settings."""
    if spec.mode == SafetyMode.OFF:
        return "The filter is off: a run with this text is not judged."
    if spec.mode == SafetyMode.ENFORCE and verdict.decision is VerdictDecision.UNAVAILABLE and spec.stops(verdict):
        return "A run with this text is blocked, because the settings block texts that can't be judged."
    if spec.mode == SafetyMode.ENFORCE:
        return "A run with this text is blocked." if spec.stops(verdict) else "A run with this text passes."
    if verdict.decision is VerdictDecision.ALLOW or not spec.stops(verdict):
        return "A run with this text passes."
    return "In shadow mode a run with this text passes. If enforced, it is blocked."


def _of_run(request: Request) -> dict[str, Any]:
    """Return the context of the run in the address, if there is one."""
    if "run" not in request.GET:
        return {}
    try:
        run = run_queries.find_run(whole_number(request.GET["run"]) or 0)
    except Run.DoesNotExist:
        raise Http404 from None
    side = SafetySide.OUTPUT if request.GET.get("side") == SafetySide.OUTPUT else SafetySide.INPUT
    masked = getattr(run, f"{side}_masked")
    return {"run": run, "side": side, "masked": masked, "text": "" if masked else getattr(run, side)}
