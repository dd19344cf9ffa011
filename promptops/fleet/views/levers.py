"""The levers: their panel, which every page opens, their page, and the strip that every page shows."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST

from promptops.fleet.actions import last_good, levers
from promptops.fleet.enums import LeverKind
from promptops.fleet.forms import LAST_GOOD, LeverForm
from promptops.fleet.models import Lever
from promptops.fleet.queries import levers as queries
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.live import snapshots as live
from promptops.people.enums import Permission
from promptops.texts.numbers import whole_number
from promptops.web import review
from promptops.web.access import actor, part_of, requires
from promptops.web.request import Request
from promptops.web.review import Change, ReviewedChange


def panel_context(form: LeverForm) -> dict[str, Any]:
    """Return the context of the panel's form."""
    earlier = queries.earlier_releases()
    chosen = whole_number(str(form["revision"].value() or ""))
    return {
        "form": form,
        "live_revision": live.current().revision,
        "operations": queries.pass_through_operations(),
        "earlier": earlier,
        "revision": chosen or queries.default_revision(earlier) or (earlier[0].revision if earlier else None),
        "longest": levers.LONGEST // timedelta(hours=1),
    }


@dataclass
class LeverChange(ReviewedChange):
    """A lever as the panel's form asks for it. The panel is the review: it says what each lever does."""

    form: LeverForm
    form_id = "levers-form"
    template = "fleet/_lever_panel.html"

    @property
    def title(self) -> str:
        return "Incident levers"

    @property
    def confirm(self) -> str:
        return "Pull"

    @property
    def page(self) -> str:
        return reverse("levers")

    def details(self) -> dict[str, Any]:
        return panel_context(self.form)

    def refusal(self) -> str:
        return self.form.problem

    def finish(self, request: Request) -> HttpResponse:
        """Close the panel. The page stays as it is; the strip comes by itself."""
        if not request.htmx:
            return review.done(request, self.page, self.result())
        return render(request, "fleet/_lever_done.html", {"level": "success", "text": self.result(), **self.after()})

    def after(self) -> dict[str, Any]:
        """Return further context of the toast."""
        return {}


@dataclass
class PullLever(LeverChange):
    """Freezing releases, or letting the inputs of an operation pass through."""

    def __post_init__(self) -> None:
        self.lever: Lever | None = None

    def apply(self, *, by: Actor, note: str) -> None:
        kind, _, operation = self.form.cleaned_data["pull"].partition(":")
        self.lever = levers.pull(
            LeverKind(kind),
            by=by,
            note=note,
            expires_at=self.form.expires_at(timezone.now()),
            operation=operation,
        )

    def result(self) -> str:
        return f"You pulled the lever {self.lever}. To undo, end it in the red strip."


@dataclass
class RestoreAll(LeverChange):
    """Restoring everything that an earlier revision had live."""

    def apply(self, *, by: Actor, note: str) -> None:
        chosen = self.form.cleaned_data
        self.restored = last_good.restore_all(chosen["revision"], by=by, note=note, expected=chosen["expected"])

    def result(self) -> str:
        stays = " ".join(self.restored.stays)
        return f"Everything is as r{self.form.cleaned_data['revision']} had it. {stays}".strip()

    def after(self) -> dict[str, Any]:
        return {"undo": reverse("lever_undo", args=[self.form.cleaned_data["expected"] + 1])}


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """Show the levers that were pulled lately and, to releasers, the form that pulls one."""
    context: dict[str, Any] = {"rows": queries.recent_levers()}
    if request.user.may(Permission.RELEASE):
        context |= panel_context(LeverForm(initial={})) | {"affected": review.affected_by_release()}
    return render(request, "fleet/levers.html", context)


@requires(Permission.RELEASE)
@part_of("levers")
def panel(request: Request) -> HttpResponse:
    """Return the panel."""
    return review.panel(request, **LeverChange(LeverForm()).shown())


@requires(Permission.RELEASE)
@part_of("levers")
def changes(request: Request) -> HttpResponse:
    """Return what restoring a revision would change."""
    revision = whole_number(request.GET.get("revision")) or 0
    try:
        restored = last_good.preview(revision)
    except Refused as refused:
        return render(request, "fleet/_lever_changes.html", {"refusal": str(refused)})
    shown = [Change(change.label, change.before, change.after) for change in queries.value_changes(restored)]
    context = {"revision": revision, "changes": shown, "stays": restored.stays}
    if not shown:
        context["refusal"] = " ".join([f"Everything is as r{revision} had it.", *restored.stays])
    return render(request, "fleet/_lever_changes.html", context)


@requires(Permission.RELEASE)
@require_POST
def pull(request: Request) -> HttpResponse:
    """Pull a lever, or show in the panel why not."""
    form = LeverForm(request.POST)
    form.full_clean()
    is_restoring = request.POST.get("pull") == LAST_GOOD
    return review.run(request, RestoreAll(form) if is_restoring else PullLever(form))


@requires(Permission.RELEASE)
@require_POST
def end(request: Request) -> HttpResponse:
    """End a lever before it expires, and return the strip as it is then."""
    try:
        expires_at = parse_datetime(request.POST.get("expires_at", "")[:40])
    except ValueError:
        expires_at = None
    named = Lever.objects.filter(
        kind=request.POST.get("kind", "")[:12], operation=request.POST.get("operation", "")[:40], ended_at=None
    )
    lever = named.filter(expires_at=expires_at).first() if expires_at else None
    try:
        if lever is None:
            raise Refused("This lever has already ended.")
        levers.end(lever, by=actor(request))
        level, text = "success", f"You ended the lever {lever}."
    except Refused as refused:
        level, text = "info", str(refused)
    if not request.htmx:
        return review.done(request, reverse("levers"), text)
    return render(request, "fleet/_lever_ended.html", {"level": level, "text": text, "levers": queries.holding()})


@requires(Permission.RELEASE)
@require_POST
def undo(request: Request, revision: int) -> HttpResponse:
    """Undo last good, which `revision` released: restore what the revision before it had live."""
    try:
        last_good.restore_all(revision - 1, by=actor(request), note=f"Undoes r{revision}.", expected=revision)
        level, text = "success", f"Everything is as r{revision - 1} had it."
    except Refused as refused:
        level, text = "error", str(refused)
    return render(request, "fleet/_lever_done.html", {"level": level, "text": text})
