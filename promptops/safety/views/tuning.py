"""Trying texts on the safety filter, and changing what it blocks, with its effect on past runs shown before."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django_htmx.http import replace_url

from promptops.engine.safety.guard import SafetyCategory, SafetyPolicy, SafetyVerdict, VerdictDecision
from promptops.engine.snapshot import SafetySpec
from promptops.ledger.audit import Actor
from promptops.live import snapshots as live
from promptops.people.enums import Permission
from promptops.runs.enums import SafetyMode, SafetySide
from promptops.runs.models import Run
from promptops.runs.queries import runs as run_queries
from promptops.runs.queries import verdicts
from promptops.safety import changes as safety_releases
from promptops.safety import guards
from promptops.safety.actions import safety as actions
from promptops.safety.changes import FilterChange
from promptops.safety.forms import ThresholdsForm
from promptops.safety.models import SafetySettings
from promptops.safety.queries import replay as safety_replay
from promptops.safety.queries import safety as queries
from promptops.texts.numbers import whole_number
from promptops.web import review
from promptops.web.access import refused, requires
from promptops.web.request import Request
from promptops.web.review import Change
from promptops.web.seen import changed


@dataclass(frozen=True)
class Word:
    """A word of a text that was judged; `decided` marks those that the verdict names."""

    text: str
    decided: bool


@dataclass
class ChangeThresholds(FilterChange):
    """Other thresholds of the filter."""

    config: SafetySettings
    form: ThresholdsForm
    title = "Change the thresholds"
    confirm = "Release"
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
        found = safety_replay.replay(config, form.now, form.proposed, safety_replay.LONG_BUDGET_SECONDS)
        unknown = f" ({found.past.waiting:,} of their texts are yet to be scored)" if found.past.waiting else ""
        affected = (
            f"Of the newest {safety_releases.runs(found.past.runs)} these scores would have blocked {found.then:,}; "
            f"as it is now, {found.now:,}{unknown}. {review.AFFECTED}"
        )
        policy = guards.policy_of(config, queries.terms())
        policy = SafetyPolicy(
            {SafetyCategory(name): value for name, value in form.proposed.items()},
            policy.allow_terms,
            policy.deny_terms,
        )
        warning = safety_releases.self_test(config.model, policy)
        return {"affected": affected, "warning": warning, "template": "_review_warning.html"}

    def refusal(self) -> str:
        if self.form.cleaned_data["expected"] != self.config.changed_revision:
            return actions.STALE
        return "" if self.changes() else "No changes to release: the thresholds are as they were."

    def apply(self, *, by: Actor, note: str) -> None:
        wanted = actions.SafetyChange(thresholds=self.form.stored)
        expected = self.form.cleaned_data["expected"]
        self.revision = actions.change_safety(wanted, by=by, expected=expected, note=note).changed_revision

    def undo(self) -> str:
        was = "; ".join(f"{change.label}: {change.before}" for change in self.changes())
        return f"To undo, make the filter of an earlier release live again on the Safety page (was: {was})."


@requires(Permission.EDIT)
def try_text(request: Request) -> HttpResponse:
    """What the live filter says of a text; nothing is stored. The text of a run is offered unless it is masked."""
    if request.method == "POST":
        text = request.POST.get("text", "").replace("\r\n", "\n")
        context = _judged(text) if text.strip() else {"error": "Type or paste a text first."}
        if request.htmx:
            return render(request, "safety/_verdict.html", context)
        return render(request, "safety/try.html", context | {"text": text})
    return render(request, "safety/try.html", _of_run(request))


@requires(Permission.READ)
def thresholds(request: Request) -> HttpResponse:
    """The thresholds, with what those in the address would have done to past runs; a POST reviews and releases them."""
    config = queries.set_now()
    if "seen" in request.GET:
        return changed(request, "the safety filter", config.changed_revision)
    if request.method == "POST":
        return _release_thresholds(request, config)
    form = ThresholdsForm(config, request.GET)
    context: dict[str, Any] = {"config": config, "form": form, "seen": config.changed_revision}
    if form.is_valid():
        proposed = form.proposed
        context |= {
            "replay": safety_replay.replay(config, form.now, proposed, _budget(request)),
            "quality": safety_replay.quality(config.model, form.now, proposed),
            "changed_thresholds": proposed != form.now,
        }
    if not request.htmx:
        return render(request, "safety/thresholds.html", context)
    different = {name: request.GET[name] for name in form.now if name in form.changed_from_now}
    address = f"{request.path}?{urlencode(different)}" if different else request.path
    return replace_url(render(request, "safety/_replay.html", context), address)


def _budget(request: Request) -> float:
    """Seconds for scoring past texts: more of them when the page asks to go on with it."""
    return safety_replay.LONG_BUDGET_SECONDS if "score" in request.GET else safety_replay.BUDGET_SECONDS


def _release_thresholds(request: Request, config: SafetySettings) -> HttpResponse:
    if not request.user.may(Permission.RELEASE):
        raise refused(request, Permission.RELEASE)
    form = ThresholdsForm(config, request.POST)
    if not form.is_valid():
        asked = {"title": ChangeThresholds.title, "confirm": "Release", "form_id": ChangeThresholds.form_id}
        return safety_releases.refused(request, safety_releases.errors(form), asked)
    return review.run(request, ChangeThresholds(config, form))


def _judged(text: str) -> dict[str, Any]:
    spec = live.current().safety
    verdict = spec.guard.check_beside(text)
    thresholds = {name.value: value for name, value in spec.policy.thresholds.items()}
    deciding = set(verdict.words)
    return {
        "spec": spec,
        "verdict": verdict,
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
    """What becomes of a run with this text, as the filter is set now."""
    if spec.mode == SafetyMode.OFF:
        return "The filter is off: a run with this text is not judged."
    if spec.mode == SafetyMode.ENFORCE and verdict.decision is VerdictDecision.UNAVAILABLE and spec.stops(verdict):
        return "A run with this text is blocked: the settings block what cannot be judged."
    if spec.mode == SafetyMode.ENFORCE:
        return "A run with this text is withheld." if spec.stops(verdict) else "A run with this text passes."
    if verdict.decision is VerdictDecision.ALLOW or not spec.stops(verdict):
        return "A run with this text passes."
    return "In shadow a run with this text passes; where the filter is enforced it is withheld."


def _of_run(request: Request) -> dict[str, Any]:
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
