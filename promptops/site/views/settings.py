"""The Settings page: the settings of the installation, and the table of permissions."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django_htmx.http import reswap, retarget

from promptops.ledger.audit import Actor
from promptops.ledger.models import LiveConfiguration
from promptops.people.enums import Permission, Role
from promptops.people.permissions import allows
from promptops.runs.queries.expiry import deletable
from promptops.site import actions
from promptops.site.forms import SettingsForm
from promptops.texts.formats import number
from promptops.web import review
from promptops.web.access import refused, requires
from promptops.web.request import Request
from promptops.web.review import Change, ReviewedChange
from promptops.web.seen import changed

STALE = (
    "Someone changed the settings. Your values are kept and compared with the current ones below. "
    "Save to replace those, or reload the page to discard yours."
)
SHORTER = "The texts of older runs are erased within an hour. This cannot be undone."
DELETES = (
    "The server deletes runs older than {days} with their attempts and verdicts, beginning within an hour: {runs} now. "
    "This cannot be undone. Runs of comparisons, runs with a reviewed verdict, and hourly totals stay."
)


@dataclass
class ChangeSettings(ReviewedChange):
    """A change of the installation's settings."""

    config: LiveConfiguration
    form: SettingsForm
    form_id = "settings-form"
    template = "_review_warning.html"
    is_pinned = True
    title = "Change the settings"
    confirm = "Save the settings"

    @property
    def page(self) -> str:
        return reverse("settings")

    @property
    def is_stale(self) -> bool:
        return bool(self.form.cleaned_data["expected"] != self.config.settings_revision)

    def changes(self) -> list[Change]:
        return _changes(self.config, self.form)

    def details(self) -> dict[str, Any]:
        stale = {"template": "site/settings/_stale.html", "expected": self.config.settings_revision}
        is_shorter = self.form.settings.run_retention_days < self.config.run_retention_days
        warnings = [SHORTER] if is_shorter else []
        before, after = self.config.run_deletion_days, self.form.settings.run_deletion_days
        if after is not None and (before is None or after < before):
            warnings.append(_deletes(after))
        return {"warning": " ".join(warnings), **(stale if self.is_stale else {})}

    def refusal(self) -> str:
        if self.is_stale:
            return STALE
        return "" if self.changes() else "No changes to save."

    def apply(self, *, by: Actor, note: str) -> None:
        expected = self.form.cleaned_data["expected"]
        actions.change_settings(self.form.settings, by=by, expected=expected, note=note)

    def result(self) -> str:
        return "The settings are saved."

    def undo(self) -> str:
        was = "; ".join(f"{change.label}: {change.before}" for change in self.changes())
        return f"To undo, enter the earlier values ({was})."


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """Show the settings and the permission table to everybody; administrators change the settings."""
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
    return review.run(request, ChangeSettings(config, form))


def _invalid(request: Request, form: SettingsForm) -> HttpResponse:
    """Show the form with its errors; over an open panel, the errors in the panel."""
    if request.htmx and review.confirmed(request):
        error = " ".join(str(message) for messages in form.errors.values() for message in messages)
        return review.panel(request, title="Not saved", confirm="Try again", form_id="settings-form", error=error)
    return _page(request, form, status=422)


def _page(request: Request, form: SettingsForm, *, status: int = 200) -> HttpResponse:
    """Show the page, or for an htmx request only the form, which replaces itself."""
    roles = list(Role)
    table = [(permission.label, [(role, allows(role, permission)) for role in roles]) for permission in Permission]
    context = {"form": form, "seen": form["expected"].value(), "roles": roles, "table": table}
    if not request.htmx:
        return render(request, "site/settings/index.html", context, status=status)
    response = render(request, "site/settings/_form.html", context, status=status)
    return reswap(retarget(response, "#settings-form"), "outerHTML")


def _changes(config: LiveConfiguration, form: SettingsForm) -> list[Change]:
    changes = []
    for name, after in vars(form.settings).items():
        before = getattr(config, name)
        if after != before:
            field = form.fields[name]
            words = [_in_words(field.prepare_value(value)) for value in (before, after)]
            changes.append(Change(str(field.label), *words))
    return changes


def _deletes(days: int) -> str:
    return DELETES.format(days=_counted(days, "day"), runs=_counted(deletable(days).count(), "run"))


def _counted(count: int, noun: str) -> str:
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def _in_words(value: float | str | None) -> str:
    return "never" if value is None else number(value)
