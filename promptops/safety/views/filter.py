"""The page of the safety filter: its state, changing its mode, and rolling it back, as releases."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST
from django_htmx.http import replace_url

from promptops.history.queries import timeline
from promptops.ledger.audit import Actor
from promptops.people.enums import Permission
from promptops.runs.enums import SafetyMode
from promptops.safety import changes as safety_changes
from promptops.safety import guards
from promptops.safety.actions import filter_settings as actions
from promptops.safety.changes import FilterChange
from promptops.safety.earlier import filter_at, shown_at
from promptops.safety.enums import SafetyTermKind, SecondStageMode, SecondStageScope, WhenUnavailable
from promptops.safety.forms import ModeForm
from promptops.safety.live_part import SEPARATOR
from promptops.safety.models import SafetyModelVersion, SafetySettings
from promptops.safety.queries import filter_state
from promptops.safety.queries.forecast import forecast
from promptops.safety.views import second_stage
from promptops.texts.numbers import whole_number
from promptops.web import review
from promptops.web.access import refused, requires
from promptops.web.request import Request
from promptops.web.review import Change
from promptops.web.seen import changed

OFF = "No text will be judged, and every answer of a model is shown at once."
ENFORCE = "Blocked texts will be withheld, and an answer appears only after all of it was judged."
PARTS = {"safety-state": "safety/_state.html", "second-replay": "safety/_second_replay.html"}
"""The parts of the page that load by themselves, by the id of their element."""
UNCHANGED = "No changes to release: the safety filter already has these settings."


@dataclass
class ChangeMode(FilterChange):
    """Changing the mode of the filter, or a choice for texts that can't be judged."""

    config: SafetySettings
    form: ModeForm
    is_in_panel: bool
    title = "Change the safety filter"
    form_id = "safety-mode"
    template = "_review_warning.html"

    @property
    def confirm(self) -> str:
        return self.form.button

    @property
    def page(self) -> str:
        return reverse("safety")

    def changes(self) -> list[Change]:
        return _changes(self.config, self.form)

    def details(self) -> dict[str, Any]:
        return {"warning": _warning(self.config, self.form.wanted)}

    def preview(self) -> dict[str, Any]:
        if self.form.cleaned_data["mode"] != SafetyMode.ENFORCE:
            return {}
        # The panel has a form of its own, which shows both choices, too, with the effect of each.
        return {
            "template": "safety/_review_enforce.html",
            "form_id": "safety-enforce",
            "form": self.form,
            "forecast": forecast(self.config, self.form.wanted.expected_languages),
            "in_panel": self.is_in_panel,
        }

    def refusal(self) -> str:
        if self.form.cleaned_data["expected"] != self.config.changed_revision:
            return actions.STALE
        return "" if self.changes() else UNCHANGED

    def refused(self, request: Request, error: str) -> HttpResponse:
        if error == UNCHANGED and self.is_in_panel and (preview := self.preview()):
            return review.panel(request, error=error, **{**self.shown(), **preview})  # its form offers other choices
        return super().refused(request, error)

    def apply(self, *, by: Actor, note: str) -> None:
        expected = self.form.cleaned_data["expected"]
        changed = actions.change_safety(self.form.wanted, by=by, expected=expected, note=note)
        self.revision = changed.changed_revision

    def undo(self) -> str:
        was = "; ".join(f"{change.label}: {change.before}" for change in self.changes())
        return f"To undo, roll back to an earlier release below (was: {was})."


@dataclass
class RollBackFilter(FilterChange):
    """Rolling the filter back to revision `to` (0: the installation); `then` are its values, `wanted` sets them."""

    to: int
    config: SafetySettings
    then: dict[str, Any] | None
    wanted: actions.SafetyChange | None
    expected: int | None
    form_id = "filter-again"
    template = "_review_form.html"

    @property
    def name(self) -> str:
        return f"r{self.to}" if self.to else "the installation"

    @property
    def title(self) -> str:
        return f"Roll the filter back to {self.name}"

    @property
    def confirm(self) -> str:
        return f"Roll back to {self.name}"

    @property
    def page(self) -> str:
        return reverse("safety")

    def changes(self) -> list[Change]:
        return _differences(shown_at(self.config.changed_revision) or {}, self.then) if self.then else []

    def details(self) -> dict[str, Any]:
        return {"action": reverse("safety_roll_back", args=[self.to]), "values": [("expected", self.expected)]}

    def preview(self) -> dict[str, Any]:
        if self.wanted is None or self.wanted.model is None:
            return {}
        more: dict[str, Any] = {}
        if self.wanted.mode == SafetyMode.ENFORCE:
            more = {
                "forecast": forecast(self.config, self.wanted.expected_languages),
                "template": "safety/_review_again.html",
                "wanted": self.wanted,
            }
        return more | {"warning": _warnings(self.config, self.wanted, self.wanted.model)}

    def refusal(self) -> str:
        if self.then is None or self.wanted is None:
            return actions.UNKNOWN_THEN
        if self.expected != self.config.changed_revision:
            return actions.STALE
        return "" if self.changes() else f"No changes to release: the filter already has the settings of {self.name}."

    def apply(self, *, by: Actor, note: str) -> None:
        self.revision = actions.roll_back(self.to, by=by, expected=self.expected or 0, note=note).changed_revision

    def result(self) -> str:
        return f"r{self.revision} is live, with the filter of {self.name}."

    def undo(self) -> str:
        return "To undo, roll back to the release before this one."


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """Show the page; a POST reviews and releases the mode and the choices for texts that can't be judged."""
    config = filter_state.set_now()
    if "seen" in request.GET:
        return changed(request, "the safety filter", config.changed_revision)
    if request.method != "POST":
        part = PARTS.get((request.htmx and request.htmx.target) or "", "safety/index.html")
        if part == "safety/_second_replay.html":
            return _second_replay(request, config)
        context = {
            "safety": filter_state.state(),
            "config": config,
            "form": ModeForm(config),
            **(second_stage.shown(config, request.GET) if request.user.may(Permission.RELEASE) else {}),
            "seen": config.changed_revision,
            "history": timeline.release_rows(filter_state.newest_releases()) if part == "safety/index.html" else [],
        }
        return render(request, part, context)
    if not request.user.may(Permission.RELEASE):
        raise refused(request, Permission.RELEASE)
    return _change(request, config)


def _second_replay(request: Request, config: SafetySettings) -> HttpResponse:
    """Show the effect of the second stage's settings in the address on past texts."""
    if not request.user.may(Permission.RELEASE):
        raise refused(request, Permission.RELEASE)
    context = second_stage.shown(config, request.GET)
    query = context["second_query"]
    response = render(request, "safety/_second_replay.html", context)
    return replace_url(response, f"{request.path}?{query}" if query else request.path)


def _change(request: Request, config: SafetySettings) -> HttpResponse:
    """Review and release the mode and the choices for texts that can't be judged."""
    form = ModeForm(config, request.POST)
    if not form.is_valid():
        panel = {"title": ChangeMode.title, "confirm": "Release", "form_id": ChangeMode.form_id}
        return safety_changes.refused(request, safety_changes.errors(form), panel)
    return review.run(request, ChangeMode(config, form, is_in_panel="in_panel" in request.POST))


@requires(Permission.RELEASE)
@require_POST
def roll_back(request: Request, revision: int) -> HttpResponse:
    """Review and release a rollback of the filter to an earlier revision (0: the installation)."""
    change = RollBackFilter(
        revision,
        filter_state.set_now(),
        shown_at(revision),
        filter_at(revision),
        whole_number(request.POST.get("expected")),
    )
    return review.run(request, change)


def _warnings(config: SafetySettings, wanted: actions.SafetyChange, model: SafetyModelVersion) -> str:
    """Return the warnings of a rollback: its effect on live traffic, and problems that the self-test finds."""
    effect = _warning(config, wanted)
    config.thresholds = wanted.thresholds or {}
    policy = guards.policy_of(config, actions.clean_terms(wanted.terms or ()), model)
    return " ".join(filter(None, (effect, safety_changes.self_test(model, policy))))


def _differences(now: dict[str, Any], then: dict[str, Any]) -> list[Change]:
    """Return the differences between the values of two releases; of terms, each one added or removed."""
    changes: list[Change] = []
    for name in dict.fromkeys((*now, *then)):
        before, after = now.get(name), then.get(name)
        if name.endswith("_terms"):
            old, new = set(str(before or "").splitlines()), set(str(after or "").splitlines())
            kind = "Denied" if name.startswith(SafetyTermKind.DENY) else "Allowed"
            changes += [Change(f"{kind}: {term}", "yes", "no") for term in sorted(old - new)]
            changes += [Change(f"{kind}: {term}", "no", "yes") for term in sorted(new - old)]
        elif name.endswith("_from"):
            if before is None or after is None or round(before, 4) != round(after, 4):
                sides = ("–" if side is None else f"{side:.4f}" for side in (before, after))
                category = "the second stage" if name == "second_from" else name.removesuffix("_from").replace("_", "-")
                changes.append(Change(f"Threshold of {category}", *sides))
        elif before != after:
            label, words = {
                "mode": ("Mode", lambda value: SafetyMode(value).label),
                "when_language": ("If the language is unknown", lambda value: WhenUnavailable(value).label),
                "when_down": ("If the filter is down", lambda value: WhenUnavailable(value).label),
                "expected_languages": ("Expected languages", _or_none),
                "when_expected": ("If the language is expected", _choice),
                "second_mode": ("Second stage", lambda value: SecondStageMode(value or "off").label),
                "second_scope": ("Texts for the second stage", lambda v: SecondStageScope(v or "doubtful").label),
            }.get(name, (name.capitalize(), str))
            changes.append(Change(label, words(before), words(after)))
    return changes


def _changes(config: SafetySettings, form: ModeForm) -> list[Change]:
    changes = []
    names = ("when_language", "when_expected", "when_down")
    choices = (("mode", SafetyMode), *((name, WhenUnavailable) for name in names))
    for name, words in choices:
        before, after = getattr(config, name), form.cleaned_data[name]
        if before != after:
            changes.append(Change(str(form.fields[name].label), words(before).label, words(after).label))
    before, after = config.expected_languages, form.cleaned_data["languages"]
    if before != after:
        changes.append(Change("Expected languages", *(_or_none(SEPARATOR.join(each)) for each in (before, after))))
    return changes


def _or_none(languages: str | None) -> str:
    return languages or "none"


def _choice(value: str | None) -> str:
    return WhenUnavailable(value).label if value else "–"


def _warning(config: SafetySettings, wanted: actions.SafetyChange) -> str:
    """Return the effect of the change on live traffic; "" if it is harmless."""
    mode, languages = wanted.mode or config.mode, wanted.expected_languages
    if mode == SafetyMode.OFF:
        return OFF
    if mode != SafetyMode.ENFORCE:
        return ""
    warnings = [ENFORCE] if config.mode != mode else []
    if (wanted.when_language or config.when_language) == WhenUnavailable.ALLOW:
        warnings.append("Texts in languages that the filter doesn't know pass unjudged.")
    if languages and wanted.when_expected == WhenUnavailable.ALLOW:
        warnings.append(f"Texts in {' and '.join(languages)} pass unjudged.")
    if (wanted.when_down or config.when_down) == WhenUnavailable.ALLOW:
        warnings.append("While the filter is down, every text passes unjudged.")
    return " ".join(warnings)
