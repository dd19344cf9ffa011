"""The pages that export all templates as a zip archive and import one, after the review panel."""

import hashlib
import io
import zipfile

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from promptops.ledger.errors import Refused
from promptops.ledger.releases import overriding_pins
from promptops.people.enums import Permission
from promptops.prompts.actions import sets
from promptops.prompts.content import SETTINGS, TEXTS, UNSET
from promptops.web import review
from promptops.web.access import actor, requires, takes_file
from promptops.web.request import Request
from promptops.web.review import Change

MAX_ARCHIVE_BYTES = 4 * 1024 * 1024
NO_PLAN = sets.Plan([], [], [], [])


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """Show the export, and the import to people who may change what is live."""
    return render(request, "prompts/files.html")


@requires(Permission.READ)
@require_POST
def export(request: Request) -> HttpResponse:
    """Download all live templates as a zip archive; with `keep`, variables are not filled in."""
    try:
        files = sets.export_files(by=actor(request), keep_variables="keep" in request.POST)
    except Refused as refused:
        messages.error(request, f"{refused} Or export with variables kept.")
        return redirect("prompt_files")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(
                zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED
            )  # without a time: the same texts make the same archive
    response = HttpResponse(buffer.getvalue(), content_type="application/zip")
    response["Content-Disposition"] = 'attachment; filename="prompts.zip"'
    return response


@takes_file(MAX_ARCHIVE_BYTES)
@requires(Permission.RELEASE)
@require_POST
def import_(request: Request) -> HttpResponse:
    """Show what the archive would change, then import it. It is sent both times and must be the same archive."""
    archive = request.FILES.get("archive")
    if archive is None:
        return _panel(request, problems=["Choose a zip archive first."])
    if (archive.size or 0) > MAX_ARCHIVE_BYTES:
        return _panel(request, problems=[f"The archive is larger than {MAX_ARCHIVE_BYTES // 2**20} MiB."])
    digest = hashlib.sha256(archive.read()).hexdigest()
    archive.seek(0)
    try:
        entries = sets.read_zip(archive)
        if not review.confirmed(request) or request.POST.get("digest") != digest:
            plan = sets.plan_import(entries)
            return _panel(request, plan=plan, digest=digest, problems=plan.problems)
        with overriding_pins(review.overrides_pins(request)):
            plan = sets.import_set(entries, by=actor(request), note=review.note(request))
    except sets.BadSet as bad:
        return _panel(request, problems=bad.problems)
    except Refused as refused:
        return _panel(request, problems=[str(refused)])
    count = len(plan.changes)
    message = f"{count} template{' is' if count == 1 else 's are'} imported and live."
    return review.done(request, reverse("prompts"), f"{message} To undo, roll back to the earlier versions.")


LABELS = {
    "operation": "Operation",
    "description": "Description",
    "default": "Default",
    **{name: setting.label for name, setting in SETTINGS.items()},
}


def _changes(planned: sets.Planned) -> list[Change]:
    """Return every change except that of the text, in words; for a new template the values that are not empty."""
    shown = [change for change in planned.changes if planned.template or change[2] not in (None, "", False)]
    return [
        Change(LABELS[key], before or "", after or "", is_text=True)
        if key in TEXTS
        else Change(LABELS[key], _words(key, before), _words(key, after))
        for key, before, after in shown
    ]


def _words(key: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    empty = UNSET if key in SETTINGS else "none"
    return empty if value in (None, "") else str(value)


def _panel(
    request: Request, *, plan: sets.Plan = NO_PLAN, digest: str = "", problems: list[str] | None = None
) -> HttpResponse:
    count = len(plan.changes)
    nothing = not problems and not count
    return review.panel(
        request,
        title="Import prompts",
        confirm=f"Import {count} template{'' if count == 1 else 's'}",
        form_id="import-form",
        template="prompts/_import.html",
        plan=plan,
        plans=[(planned, _changes(planned)) for planned in plan.changes],
        digest=digest,
        is_pinned=True,
        problems=problems or (["No changes to import: the files match what is live."] if nothing else []),
        without_note=bool(problems) or nothing,
        affected="Nothing has changed." if problems or nothing else review.affected_by_release(),
    )
