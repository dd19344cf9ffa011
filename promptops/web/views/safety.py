"""The safety filter: how it is set, whether it works, and changing it as a release."""

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from promptops.actions import safety as actions
from promptops.actions.errors import Refused, Stale
from promptops.enums import Permission, SafetyMode, WhenUnavailable
from promptops.models import SafetySettings
from promptops.queries import safety as queries
from promptops.web import review
from promptops.web.access import actor, refused, requires
from promptops.web.forms_safety import ModeForm
from promptops.web.review import Change

OFF = "No text is judged any more, and whatever a model writes is shown at once."
OPEN = "While the filter cannot judge, every text passes unseen."
ENFORCE = "From now on blocked texts are withheld, and no text shows before all of it was judged."


@requires(Permission.READ)
def index(request: HttpRequest) -> HttpResponse:
    """The page; a POST reviews and releases the mode and what unavailable means."""
    config = queries.set_now()
    if "seen" in request.GET:
        changed = "Someone changed the safety filter." if request.GET["seen"] != str(config.changed_revision) else ""
        return render(request, "_changed.html", {"seen": request.GET["seen"], "changed": changed})
    if request.method != "POST":
        part = "safety/_state.html" if request.htmx and request.htmx.target == "safety-state" else "safety/index.html"
        context = {
            "safety": queries.state(),
            "config": config,
            "form": ModeForm(config),
            "seen": config.changed_revision,
        }
        return render(request, part, context)
    if not request.user.may(Permission.RELEASE):
        raise refused(request, Permission.RELEASE)
    form = ModeForm(config, request.POST)
    asked = {"title": "Change the safety filter", "confirm": "Release", "form_id": "safety-mode"}
    if not form.is_valid():
        error = " ".join(message for messages in form.errors.values() for message in messages)
        return review.panel(request, error=error, **asked)
    changes = _changes(config, form)
    asked |= {"changes": changes, "warning": _warning(config, form), "template": "_review_warning.html"}
    if form.cleaned_data["expected"] != config.changed_revision:
        return review.panel(request, error=actions.STALE, **asked)
    if not changes:
        return review.panel(request, error="No changes to release: the safety filter is as it was.", **asked)
    if not review.confirmed(request):
        return review.panel(request, **asked)
    wanted = actions.SafetyChange(
        mode=form.cleaned_data["mode"], when_unavailable=form.cleaned_data["when_unavailable"]
    )
    try:
        done = actions.change_safety(
            wanted, by=actor(request), expected=form.cleaned_data["expected"], note=review.note(request)
        )
    except (Refused, Stale, ValidationError) as error:
        sentence = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
        return review.panel(request, error=sentence, **asked)
    was = "; ".join(f"{change.label}: {change.before}" for change in changes)
    told = f"r{done.changed_revision} is live. To undo, put back what was there ({was})."
    return review.done(request, reverse("safety"), told)


def _changes(config: SafetySettings, form: ModeForm) -> list[Change]:
    found = []
    for name, words in (("mode", SafetyMode), ("when_unavailable", WhenUnavailable)):
        before, after = getattr(config, name), form.cleaned_data[name]
        if before != after:
            found.append(Change(form.fields[name].label, words(before).label, words(after).label))
    return found


def _warning(config: SafetySettings, form: ModeForm) -> str:
    """What the change means for the show, where that is not harmless."""
    mode, meaning = form.cleaned_data["mode"], form.cleaned_data["when_unavailable"]
    if mode == SafetyMode.OFF:
        return OFF
    if mode != SafetyMode.ENFORCE:
        return ""
    warnings = [ENFORCE] if config.mode != mode else []
    if meaning == WhenUnavailable.ALLOW:
        warnings.append(OPEN)
    return " ".join(warnings)
