"""The settings of the whole place, and the table of who may do what."""

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django_htmx.http import reswap, retarget

from promptops.actions import settings as actions
from promptops.actions.errors import Refused
from promptops.enums import Permission, Role
from promptops.models import LiveConfiguration
from promptops.permissions import allows
from promptops.web import review
from promptops.web.access import actor, refused, requires
from promptops.web.forms_settings import SettingsForm
from promptops.web.request import Request
from promptops.web.review import Change
from promptops.web.seen import changed

STALE = (
    "Someone changed the settings meanwhile. What you typed is kept; below it is compared with what is there now. "
    "Save it to replace theirs, or reload the page to drop yours."
)
SHORTER = "The texts of older runs are erased within the hour, for good."


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """The settings and the permission table, for everybody to read; administrators change the settings."""
    config = LiveConfiguration.objects.get(pk=1)
    if "seen" in request.GET:
        return changed(request, "the settings", config.settings_revision)
    if request.method != "POST":
        return _page(request, SettingsForm(config))
    if not request.user.may(Permission.ADMINISTER):
        raise refused(request, Permission.ADMINISTER)
    form = SettingsForm(config, request.POST)
    if not form.is_valid():
        return _invalid(request, form)
    wanted = form.settings
    changes = _changes(config, form)
    asked: dict[str, Any] = {
        "title": "Change the settings",
        "confirm": "Save the settings",
        "form_id": "settings-form",
        "changes": changes,
        "warning": SHORTER if wanted.run_retention_days < config.run_retention_days else "",
        "template": "_review_warning.html",
    }
    if form.cleaned_data["expected"] != config.settings_revision:
        stale = {"template": "settings/_stale.html", "expected": config.settings_revision}
        return review.panel(request, error=STALE, **(asked | stale))
    if not changes:
        return review.panel(request, error="No changes to save: the settings are as they were.", **asked)
    if not review.confirmed(request):
        return review.panel(request, **asked)
    note = review.note(request)
    try:
        actions.change_settings(wanted, by=actor(request), expected=form.cleaned_data["expected"], note=note)
    except (Refused, ValidationError) as error:
        sentence = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
        return review.panel(request, error=sentence, **asked)
    was = "; ".join(f"{change.label}: {change.before}" for change in changes)
    return review.done(
        request, reverse("settings"), f"The settings are saved. To undo, put back what was there ({was})."
    )


def _invalid(request: Request, form: SettingsForm) -> HttpResponse:
    """The form with its errors; over an open panel, the errors in the panel."""
    if request.htmx and review.confirmed(request):
        error = " ".join(str(message) for messages in form.errors.values() for message in messages)
        return review.panel(request, title="Not saved", confirm="Try again", form_id="settings-form", error=error)
    return _page(request, form, status=422)


def _page(request: Request, form: SettingsForm, *, status: int = 200) -> HttpResponse:
    """The page, or for an htmx request only the form, which replaces itself."""
    roles = list(Role)
    table = [(permission.label, [(role, allows(role, permission)) for role in roles]) for permission in Permission]
    context = {"form": form, "seen": form["expected"].value(), "roles": roles, "table": table}
    if not request.htmx:
        return render(request, "settings/index.html", context, status=status)
    response = render(request, "settings/_form.html", context, status=status)
    return reswap(retarget(response, "#settings-form"), "outerHTML")


def _changes(config: LiveConfiguration, form: SettingsForm) -> list[Change]:
    found = []
    for name, after in vars(form.settings).items():
        before = getattr(config, name)
        if after != before:
            found.append(Change(str(form.fields[name].label), _told(before), _told(after)))
    return found


def _told(value: float | str) -> str:
    return (value or "off") if isinstance(value, str) else f"{value:,}"
