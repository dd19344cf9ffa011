"""Prompts → Import: texts of other tools, read from files or pasted, become drafts or live versions.

The browser sends the files with every request, so nothing of them waits on the server. The choices of each text are
fields that are numbered in the order of the texts; a digest shows whether they belong to the same files.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST

from promptops.people.enums import Permission
from promptops.platform.text import MAX_BODY_BYTES
from promptops.prompts.actions import importing
from promptops.prompts.actions.importing import NotImported, Text
from promptops.prompts.models import Template
from promptops.prompts.queries.operations import live_choices
from promptops.prompts.queries.similar import Similar, similar_texts
from promptops.texts import sources
from promptops.texts.sources import SUFFIXES, Candidate, UnreadableSource
from promptops.web import review
from promptops.web.access import actor, requires, takes_file
from promptops.web.request import Request

MAX_BYTES = 4 * 1024 * 1024
MAX_TEXTS = 100
PASTED = "Pasted text"


@dataclass(frozen=True)
class Row:
    """A text that was found, with the person's choices. `template` is the one of this name, if there is one."""

    number: int
    candidate: Candidate
    chosen: bool
    name: str
    operation: str
    keeps_invisible: bool
    variables: frozenset[str]
    """The placeholders to write as variables, as they are written in the text."""
    similar: tuple[Similar, ...] = ()
    template: Template | None = None

    @property
    def prefix(self) -> str:
        """Return the beginning of the names of this row's fields."""
        return f"text-{self.number}"

    @property
    def body(self) -> str:
        """Return the text to import."""
        text = sources.with_variables(self.candidate.text, set(self.variables))
        return text if self.keeps_invisible else sources.without_invisible(text)

    @property
    def size(self) -> int:
        """Return the size of the text in bytes of UTF-8."""
        return len(self.body.encode(errors="replace"))

    @property
    def is_too_long(self) -> bool:
        """Return whether the text is longer than a prompt may be."""
        return self.size > MAX_BODY_BYTES


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
    """Import the chosen texts as drafts of the person."""
    try:
        rows, digest = _chosen_rows(request)
    except Unreadable as unreadable:
        return _found(request, [], "", unreadable.problems)
    try:
        templates = importing.import_drafts(_texts(rows), by=actor(request), user=request.user)
    except NotImported as refused:
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
        if not any(row.chosen for row in rows):
            problems = ["Choose at least one text."]
        elif review.confirmed(request):
            templates = importing.import_versions(_texts(rows), by=actor(request), note=review.note(request))
            count = len(templates)
            message = f"{count} text{' is' if count == 1 else 's are'} imported and live."
            return review.done(request, reverse("prompts"), f"{message} To undo, roll back to the earlier versions.")
    except (Unreadable, NotImported) as error:
        problems = error.problems
    chosen = [row for row in rows if row.chosen]
    return review.panel(
        request,
        title="Publish imported texts",
        confirm=f"Publish {len(chosen)} text{'' if len(chosen) == 1 else 's'}",
        form_id="texts-form",
        template="prompts/_import_versions.html",
        rows=chosen,
        problems=problems,
        without_note=bool(problems),
        affected="Nothing has changed." if problems else review.affected_by_release(),
    )


def _texts(rows: Iterable[Row]) -> list[Text]:
    return [Text(row.name, row.operation, row.body) for row in rows if row.chosen]


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
    """Return a row for each text, with the choices that were sent for it, or as it is first shown."""
    sent = request.POST if request.POST.get("digest") == digest else None
    operations = [name for name, _ in live_choices()]
    names: set[str] = set()
    rows = []
    for number, candidate in enumerate(candidates):
        prefix = f"text-{number}"
        name = _free(candidate.name, names) if sent is None else sent.get(f"{prefix}-name", "").strip()
        operation = candidate.name if candidate.name in operations else operations[0]
        if sent is not None and sent.get(f"{prefix}-operation") in operations:
            operation = sent[f"{prefix}-operation"]
        names.add(name)
        rows.append(
            Row(
                number,
                candidate,
                chosen=not candidate.is_short if sent is None else f"{prefix}-chosen" in sent,
                name=name,
                operation=operation,
                keeps_invisible=sent is None or not candidate.invisible or f"{prefix}-invisible" in sent,
                variables=frozenset() if sent is None else frozenset(sent.getlist(f"{prefix}-variable")),
            )
        )
    return _compared(rows)


def _free(name: str, taken: set[str]) -> str:
    """Return the name, with a number at its end if another text has it already."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name[: sources.MAX_NAME_CHARACTERS - 4]}-{number}"
    return free


def _compared(rows: list[Row]) -> list[Row]:
    """Return the rows with the templates of their names and with what resembles them."""
    existing = Template.objects.filter(name__in=[row.name for row in rows]).select_related("live_version")
    by_name = {template.name: template for template in existing}
    similar = similar_texts([(row.name, row.candidate.text) for row in rows])
    return [
        Row(**vars(row) | {"similar": tuple(resembling), "template": by_name.get(row.name)})
        for row, resembling in zip(rows, similar, strict=True)
    ]


def _found(request: Request, rows: list[Row], digest: str, problems: list[str] | None = None) -> HttpResponse:
    context = {"rows": rows, "digest": digest, "problems": problems, "operations": live_choices()}
    return render(request, "prompts/_import_texts.html", context, status=422 if problems else 200)
