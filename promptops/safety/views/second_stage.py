"""Changing the second stage of the safety filter, as a release, and the effect of a change on past texts.

Its form and state are on the filter's page.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from promptops.engine.safety import second_stage
from promptops.ledger.audit import Actor
from promptops.live import snapshots as live
from promptops.people.enums import Permission
from promptops.safety import changes as safety_changes
from promptops.safety.actions import filter_settings as actions
from promptops.safety.changes import FilterChange
from promptops.safety.enums import SecondStageMode, SecondStageScope
from promptops.safety.forms import SecondStageForm
from promptops.safety.models import SafetySettings
from promptops.safety.queries import filter_state, second_replay
from promptops.safety.queries.second_replay import SecondReplay
from promptops.web import review
from promptops.web.access import requires
from promptops.web.request import Request
from promptops.web.review import Change

UNCHANGED = "No changes to release: the second stage already has these settings."
ENFORCE = (
    "Its verdicts will count: both stages together block texts that the first stage allows, and let texts pass that it "
    "blocks. The second stage alone decides about texts in languages that only it reads."
)
MISSING = f"It is not installed on this server ({second_stage.INSTALL}). Texts for it can't be judged here."


@dataclass
class ChangeSecondStage(FilterChange):
    """Changing what the second stage judges, its threshold, and what its verdicts do."""

    config: SafetySettings
    before: SafetySettings
    form: SecondStageForm
    title = "Change the second stage"
    confirm = "Release the second stage"
    form_id = "safety-second"
    template = "_review_warning.html"

    @property
    def page(self) -> str:
        return reverse("safety")

    def changes(self) -> list[Change]:
        before, chosen = self.before, self.form.cleaned_data
        values = [
            ("Second stage", *(SecondStageMode(v).label for v in (before.second_mode, chosen["second_mode"]))),
            ("Texts", *(SecondStageScope(v).label for v in (before.second_scope, chosen["second_scope"]))),
            ("Threshold", *(_threshold(v) for v in (before.second_threshold, chosen["second_threshold"]))),
        ]
        return [Change(*value) for value in values if value[1] != value[2]]

    def details(self) -> dict[str, Any]:
        mode = self.form.cleaned_data["second_mode"]
        warnings = [
            ENFORCE if mode == SecondStageMode.ENFORCE != self.before.second_mode else "",
            MISSING if mode != SecondStageMode.OFF and not second_stage.installed() else "",
        ]
        return {"warning": " ".join(filter(None, warnings))}

    def preview(self) -> dict[str, Any]:
        replayed = replay_of(self.form)
        if isinstance(replayed, str):
            return {"warning": " ".join(filter(None, (self.details()["warning"], replayed)))}
        return {"affected": f"{_effect(replayed)} {self.affected}"}

    def refusal(self) -> str:
        if self.form.cleaned_data["expected"] != self.before.changed_revision:
            return actions.STALE
        return "" if self.changes() else UNCHANGED

    def apply(self, *, by: Actor, note: str) -> None:
        chosen = self.form.cleaned_data
        threshold = chosen["second_threshold"]
        wanted = actions.SafetyChange(
            second_mode=chosen["second_mode"],
            second_scope=chosen["second_scope"],
            second_threshold="own" if threshold is None else threshold,
        )
        self.revision = actions.change_safety(wanted, by=by, expected=chosen["expected"], note=note).changed_revision

    def undo(self) -> str:
        was = "; ".join(f"{change.label}: {change.before}" for change in self.changes())
        return f"To undo, roll back to an earlier release below (was: {was})."


def replay_of(form: SecondStageForm) -> SecondReplay | str:
    """Return the effect of a valid form on past texts, or why it is unknown. At most two queries."""
    now = live.current().safety
    try:
        return second_replay.replay(now, replace(now, **{name: form.cleaned_data[name] for name in form.Meta.fields}))
    except ValueError as error:  # the file of the second stage is damaged
        return f"The effect on past texts is unknown: {error}."


def shown(config: SafetySettings, given: Mapping[str, str]) -> dict[str, Any]:
    """Return the context of the form with the values of an address, and of their effect on past texts."""
    form = SecondStageForm.proposal(config, given)
    context: dict[str, Any] = {"second_form": form, "second_query": ""}
    if form.is_valid() and form.changed_from_now:
        replayed = replay_of(form)
        context |= {"failure": replayed} if isinstance(replayed, str) else {"replay": replayed}
        context["second_query"] = urlencode(form.changed_from_now)
    return context


@requires(Permission.RELEASE)
@require_POST
def change(request: Request) -> HttpResponse:
    """Review and release the settings of the second stage."""
    form = SecondStageForm(request.POST, instance=filter_state.set_now())
    if not form.is_valid():
        panel = {"title": ChangeSecondStage.title, "confirm": "Release", "form_id": ChangeSecondStage.form_id}
        return safety_changes.refused(request, safety_changes.errors(form), panel)
    return review.run(request, ChangeSecondStage(form.instance, filter_state.set_now(), form))


def _effect(replayed: SecondReplay) -> str:
    """Return the effect on past texts in a sentence or two."""
    if not replayed.texts:
        return "There are no past texts to show the effect on."
    sentence = (
        f"Of the newest {_texts(replayed.texts)}, these settings would have blocked {replayed.blocked:,} that passed, "
        f"and let {replayed.passed:,} pass that {'was' if replayed.passed == 1 else 'were'} blocked."
    )
    unknown = replayed.unscored + replayed.of_others
    return f"{sentence} The effect on {_texts(unknown)} is unknown." if unknown else sentence


def _texts(count: int) -> str:
    return f"{count:,} text{'' if count == 1 else 's'}"


def _threshold(value: float | None) -> str:
    return "its own" if value is None else f"{value:.4f}"
