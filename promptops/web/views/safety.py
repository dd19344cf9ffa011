"""The safety filter: how it is set, whether it works, and changing it as a release."""

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST

from promptops import guards
from promptops.actions import safety as actions
from promptops.actions.errors import Refused, Stale
from promptops.enums import Permission, SafetyMode, SafetyTermKind, WhenUnavailable
from promptops.models import SafetyModelVersion, SafetySettings
from promptops.queries import safety as queries
from promptops.queries.safety_forecast import forecast
from promptops.text import whole_number
from promptops.web import review, safety_releases
from promptops.web.access import actor, refused, requires
from promptops.web.forms_safety import ModeForm
from promptops.web.request import Request
from promptops.web.review import Change
from promptops.web.seen import changed

OFF = "No text is judged any more, and whatever a model writes is shown at once."
ENFORCE = "From now on blocked texts are withheld, and no text shows before all of it was judged."
UNCHANGED = "No changes to release: the safety filter is as it was."


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """The page; a POST reviews and releases the mode and what unavailable means."""
    config = queries.set_now()
    if "seen" in request.GET:
        return changed(request, "the safety filter", config.changed_revision)
    if request.method != "POST":
        part = "safety/_state.html" if request.htmx and request.htmx.target == "safety-state" else "safety/index.html"
        context = {
            "safety": queries.state(),
            "config": config,
            "form": ModeForm(config),
            "seen": config.changed_revision,
            "history": queries.history() if part == "safety/index.html" else [],
        }
        return render(request, part, context)
    if not request.user.may(Permission.RELEASE):
        raise refused(request, Permission.RELEASE)
    return _change(request, config)


def _change(request: Request, config: SafetySettings) -> HttpResponse:
    """Review and release the mode and what becomes of texts that cannot be judged."""
    form = ModeForm(config, request.POST)
    asked: dict[str, Any] = {"title": "Change the safety filter", "confirm": "Release", "form_id": "safety-mode"}
    if not form.is_valid():
        return safety_releases.refused(request, safety_releases.errors(form), asked)
    given = form.cleaned_data
    mode, changes = given["mode"], _changes(config, form)
    asked |= {
        "changes": changes,
        "warning": _warning(config, mode, given["when_language"], given["when_down"]),
        "template": "_review_warning.html",
        "confirm": form.button,
    }
    if given["expected"] != config.changed_revision:
        return safety_releases.refused(request, actions.STALE, asked)
    if mode == SafetyMode.ENFORCE:
        # The choices are in the panel, too, beside what each would have done; the panel has a form of its own.
        asked |= {
            "template": "safety/_review_enforce.html",
            "form_id": "safety-enforce",
            "form": form,
            "forecast": forecast(config),
            "in_panel": "in_panel" in request.POST,
        }
    if not changes and not asked.get("in_panel"):
        return safety_releases.refused(request, UNCHANGED, asked | {"template": "_review_refused.html"})
    if not changes or not review.confirmed(request):
        return review.panel(request, error="" if changes else UNCHANGED, **asked)
    wanted = actions.SafetyChange(mode=mode, when_language=given["when_language"], when_down=given["when_down"])
    undo = "To undo, make an earlier release below live again (was: {was})."
    return safety_releases.release(
        request,
        wanted,
        given["expected"],
        "safety",
        asked,
        undo.format(was="; ".join(f"{change.label}: {change.before}" for change in changes)),
    )


@requires(Permission.RELEASE)
@require_POST
def roll_back(request: Request, revision: int) -> HttpResponse:
    """Review and release the filter as an earlier revision had it (0: as it was installed): two clicks."""
    config, then = queries.set_now(), queries.told_at(revision)
    name = f"of r{revision}" if revision else "as it was installed"
    expected = whole_number(request.POST.get("expected"))
    wanted = safety_releases.change_to(then) if then else None
    asked: dict[str, Any] = {
        "title": f"Make the filter {name} live again",
        "confirm": f"Make r{revision} live again" if revision else "Make it live again",
        "form_id": "filter-again",
        "changes": _differences(queries.told_at(config.changed_revision) or {}, then) if then else [],
        "template": "_review_form.html",
        "action": reverse("safety_roll_back", args=[revision]),
        "values": [("expected", expected)],
    }
    if then is None or wanted is None or wanted.model is None:
        error = "It is not known what the filter was then: that is no release of the filter, or its model is gone."
        return safety_releases.refused(request, error, asked)
    if expected != config.changed_revision:
        return safety_releases.refused(request, actions.STALE, asked)
    if not asked["changes"]:
        return safety_releases.refused(request, "No changes to release: the safety filter is as it was then.", asked)
    try:
        if not review.confirmed(request):
            if wanted.mode == SafetyMode.ENFORCE:
                asked |= {"forecast": forecast(config), "template": "safety/_review_again.html", "wanted": wanted}
            return review.panel(request, warning=_warnings(config, wanted, wanted.model), **asked)
        done = actions.roll_back(revision, wanted, by=actor(request), expected=expected or 0, note=review.note(request))
    except (Refused, Stale, ValidationError) as error:
        sentence = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
        return safety_releases.refused(request, sentence, asked)
    told = f"r{done.changed_revision} is live, with the filter {name}. To undo, make the release before live again."
    return review.done(request, reverse("safety"), told)


def _warnings(config: SafetySettings, wanted: actions.SafetyChange, model: SafetyModelVersion) -> str:
    """What a whole other setting of the filter means for the show, and what its self-test finds."""
    meant = _warning(
        config,
        wanted.mode or config.mode,
        wanted.when_language or config.when_language,
        wanted.when_down or config.when_down,
    )
    config.thresholds = wanted.thresholds or {}
    policy = guards.policy_of(config, actions.clean_terms(wanted.terms or ()), model)
    return " ".join(filter(None, (meant, safety_releases.self_test(model, policy))))


def _differences(now: dict[str, Any], then: dict[str, Any]) -> list[Change]:
    """What is different in what two releases told; of terms, those that come and go."""
    found: list[Change] = []
    for name in dict.fromkeys((*now, *then)):
        before, after = now.get(name), then.get(name)
        if name.endswith("_terms"):
            old, new = set(str(before or "").splitlines()), set(str(after or "").splitlines())
            kind = "Denied" if name.startswith(SafetyTermKind.DENY) else "Allowed"
            found += [Change(f"{kind}: {term}", "yes", "no") for term in sorted(old - new)]
            found += [Change(f"{kind}: {term}", "no", "yes") for term in sorted(new - old)]
        elif name.endswith("_from"):
            if before is None or after is None or round(before, 4) != round(after, 4):
                sides = ("–" if side is None else f"{side:.4f}" for side in (before, after))
                found.append(Change(f"Threshold of {name.removesuffix('_from').replace('_', '-')}", *sides))
        elif before != after:
            label, words = {
                "mode": ("Mode", lambda value: SafetyMode(value).label),
                "when_language": ("If the language is unknown", lambda value: WhenUnavailable(value).label),
                "when_down": ("If the filter is down", lambda value: WhenUnavailable(value).label),
            }.get(name, (name.capitalize(), str))
            found.append(Change(label, words(before), words(after)))
    return found


def _changes(config: SafetySettings, form: ModeForm) -> list[Change]:
    found = []
    choices = (("mode", SafetyMode), ("when_language", WhenUnavailable), ("when_down", WhenUnavailable))
    for name, words in choices:
        before, after = getattr(config, name), form.cleaned_data[name]
        if before != after:
            found.append(Change(str(form.fields[name].label), words(before).label, words(after).label))
    return found


def _warning(config: SafetySettings, mode: str, when_language: str, when_down: str) -> str:
    """What the change means for live traffic, where that is not harmless."""
    if mode == SafetyMode.OFF:
        return OFF
    if mode != SafetyMode.ENFORCE:
        return ""
    warnings = [ENFORCE] if config.mode != mode else []
    if when_language == WhenUnavailable.ALLOW:
        warnings.append("Texts in languages that the filter doesn't know pass unjudged.")
    if when_down == WhenUnavailable.ALLOW:
        warnings.append("While the filter is down, every text passes unjudged.")
    return " ".join(warnings)
