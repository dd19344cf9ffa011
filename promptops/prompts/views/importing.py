"""Prompts → Import: texts of other tools, read from files or pasted, become drafts or live versions.

The browser sends the files with every request, so nothing of them waits on the server. The choices of each text are
fields that are numbered in the order of the texts; a digest shows whether they belong to the same files.
"""

import hashlib
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST
from django_htmx.http import reswap, retarget

from promptops.ledger.releases import overriding_pins
from promptops.people.enums import Permission
from promptops.prompts.actions import importing
from promptops.prompts.actions.importing import NotImported
from promptops.prompts.import_rows import NEW, Row, operations_of, rows_of
from promptops.prompts.operation_words import schema_in_words, summary
from promptops.prompts.queries.operations import live_choices
from promptops.texts import sources
from promptops.texts.sources import SUFFIXES, Candidate, UnreadableSource
from promptops.web import review
from promptops.web.access import actor, requires, takes_file
from promptops.web.request import Request

MAX_BYTES = 4 * 1024 * 1024
MAX_TEXTS = 100
PASTED = "Pasted text"
NOT_RUNNING = "Nothing goes live but the new operations. Servers can ask for them as soon as a text of them is live."


class Unreadable(Exception):
    """The request holds no texts that can be imported."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


@requires(Permission.EDIT)
def index(request: Request) -> HttpResponse:
    """Show the form that takes files or a pasted text."""
    return render(request, "prompts/import.html", {"suffixes": ",".join(SUFFIXES)})


@takes_file(MAX_BYTES)
@requires(Permission.EDIT)
@require_POST
def read(request: Request) -> HttpResponse:
    """Show what the files hold, with the choices of each text."""
    try:
        candidates, digest = _candidates(request)
    except Unreadable as unreadable:
        return _found(request, [], "", unreadable.problems)
    return _found(request, _rows(request, candidates, digest), digest)


@takes_file(MAX_BYTES)
@requires(Permission.EDIT)
@require_POST
def drafts(request: Request) -> HttpResponse:
    """Import the chosen texts as drafts of the person. Operations to make are shown in the panel first."""
    try:
        rows, digest = _chosen_rows(request)
    except Unreadable as unreadable:
        return _found(request, [], "", unreadable.problems)
    operations, problems = operations_of(rows)
    if problems and not review.confirmed(request):
        return _found(request, rows, digest, problems)
    chosen = [row for row in rows if row.chosen]
    if operations and not review.confirmed(request):
        return reswap(retarget(_draft_panel(request, chosen), "#review"), "innerHTML")
    try:
        if problems:
            raise NotImported(problems)
        templates = importing.import_drafts(
            [row.text for row in chosen],
            by=actor(request),
            user=request.user,
            operations=operations,
            note=review.note(request),
        )
    except NotImported as refused:
        if review.confirmed(request):
            return _draft_panel(request, chosen, refused.problems)
        return _found(request, rows, digest, refused.problems)
    if len(templates) == 1:
        return review.done(request, reverse("template", args=[templates[0].name]), "Imported as your draft.")
    return review.done(request, reverse("prompts"), f"{len(templates)} texts are imported as your drafts.")


@takes_file(MAX_BYTES)
@requires(Permission.RELEASE)
@require_POST
def versions(request: Request) -> HttpResponse:
    """Show what publishing the chosen texts would change, then publish them."""
    problems: list[str] = []
    rows: list[Row] = []
    try:
        rows, _ = _chosen_rows(request)
        chosen = [row for row in rows if row.chosen]
        operations, problems = operations_of(rows)
        if not chosen:
            problems = ["Choose at least one text."]
        elif review.confirmed(request) and not problems:
            with overriding_pins(review.overrides_pins(request)):
                templates = importing.import_versions(
                    [row.text for row in chosen], by=actor(request), note=review.note(request), operations=operations
                )
            count = len(templates)
            message = f"{count} text{' is' if count == 1 else 's are'} imported and live."
            return review.done(request, reverse("prompts"), f"{message} To undo, roll back to the earlier versions.")
    except (Unreadable, NotImported) as error:
        problems = error.problems
    chosen = [row for row in rows if row.chosen]
    return _panel(
        request,
        chosen,
        problems,
        address=reverse("texts_import_versions"),
        title="Publish imported texts",
        confirm=f"Publish {_texts(len(chosen))}",
        shows_texts=True,
        is_pinned=True,
        affected="Nothing has changed." if problems else review.affected_by_release(),
    )


def _draft_panel(request: Request, rows: list[Row], problems: list[str] | None = None) -> HttpResponse:
    return _panel(
        request,
        rows,
        problems or [],
        address=reverse("texts_import_drafts"),
        title="Make operations and import drafts",
        confirm=f"Import {_texts(len(rows))} as my draft{'' if len(rows) == 1 else 's'}",
        affected="Nothing has changed." if problems else NOT_RUNNING,
    )


def _panel(request: Request, rows: list[Row], problems: list[str], **context: Any) -> HttpResponse:
    """Return the panel with the operations to make, and the texts if they go live."""
    made = [] if problems else operations_of(rows)[0]
    return review.panel(
        request,
        form_id="texts-form",
        template="prompts/_import_review.html",
        rows=[] if problems else rows,
        operations=[(each, summary(vars(each.fields)), schema_in_words(each.fields.answer)) for each in made],
        problems=problems,
        without_note=bool(problems),
        in_panel=len(rows) + len(made) > 1,  # the focus on the note would scroll to the end of a long panel
        **context,
    )


def _texts(count: int) -> str:
    return f"{count} text{'' if count == 1 else 's'}"


def _candidates(request: Request) -> tuple[list[Candidate], str]:
    """Return the texts in the files and the pasted text, and the digest of both. Raises Unreadable."""
    pasted = request.POST.get("pasted", "")
    files = [(file.name or "file", file.read()) for file in request.FILES.getlist("files")]
    if pasted.strip():
        files.append((PASTED, pasted.encode(errors="replace")))
    if not files:
        raise Unreadable(["Choose a file or paste a text first."])
    if sum(len(data) for _, data in files) > MAX_BYTES:
        raise Unreadable([f"The files are larger than {MAX_BYTES // 2**20} MiB together. Import fewer at once."])
    candidates: list[Candidate] = []
    problems = []
    digest = hashlib.sha256()
    for name, data in files:
        digest.update(f"{len(name)} {name} {len(data)} ".encode(errors="replace") + data)
        try:
            candidates += sources.read(name, data)
        except UnreadableSource as error:
            problems.append(str(error))
    if len(candidates) > MAX_TEXTS:
        problems.append(f"The files hold {len(candidates)} texts; at most {MAX_TEXTS} are imported at once.")
    if problems:
        raise Unreadable(problems)
    return candidates, digest.hexdigest()


def _chosen_rows(request: Request) -> tuple[list[Row], str]:
    """Return the rows with the person's choices. Raises Unreadable, also if the files are not those of the choices."""
    candidates, digest = _candidates(request)
    if request.POST.get("digest") != digest:
        raise Unreadable(["The files or the pasted text have changed. Read them again."])
    return _rows(request, candidates, digest), digest


def _rows(request: Request, candidates: list[Candidate], digest: str) -> list[Row]:
    sent = request.POST if request.POST.get("digest") == digest else None
    return rows_of(candidates, sent, may_make=request.user.may(Permission.RELEASE))


def _found(request: Request, rows: list[Row], digest: str, problems: list[str] | None = None) -> HttpResponse:
    context = {"rows": rows, "digest": digest, "problems": problems, "operations": live_choices(), "new": NEW}
    return render(request, "prompts/_import_texts.html", context, status=422 if problems else 200)
