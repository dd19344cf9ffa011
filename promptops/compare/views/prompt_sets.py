"""Prompt sets: list, one set with its inputs, making and changing it, downloads, the archive."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.text import slugify
from django.views.decorators.http import require_POST

from promptops.compare.actions import prompt_sets as actions
from promptops.compare.forms.prompt_sets import PROBLEMS_SHOWN, FromRunsForm, PromptSetForm
from promptops.compare.models import PromptSet
from promptops.compare.queries import prompt_sets as queries
from promptops.ledger.errors import Refused, Stale
from promptops.people.enums import Permission
from promptops.platform.pages import page
from promptops.texts.inputs import Format, simplest, write
from promptops.texts.numbers import whole_number
from promptops.web import review
from promptops.web.access import actor, requires, takes_file
from promptops.web.lists import clean_query
from promptops.web.request import Request
from promptops.web.seen import changed

# Texts longer than this are not compared on the page of a conflict; each can be opened.
COMPARED_CHARACTERS = 60_000


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """The sets, newest first; `?archived=1` shows the archive, `?q=` those whose name or description holds it."""
    if (address := clean_query(request)) is not None:
        return redirect(address)
    search, archived = _search(request), request.GET.get("archived") == "1"
    rows = queries.listed(search, archived=archived)
    shown = page(rows, before=whole_number(request.GET.get("before")), after=whole_number(request.GET.get("after")))
    context = {"page": shown, "search": search, "archived": archived}
    return render(
        request, "compare/prompt_sets/_list.html" if request.htmx else "compare/prompt_sets/index.html", context
    )


@requires(Permission.READ)
def detail(request: Request, pk: int) -> HttpResponse:
    """One set with its inputs, 50 to a page; `?q=` shows those that hold it. Unchanged since `seen`: 204."""
    prompt_set = _found(pk)
    if request.GET.get("seen") == str(prompt_set.edition):
        return HttpResponse(status=204)
    search = _search(request)
    window = queries.window(prompt_set, number=whole_number(request.GET.get("page")) or 1, search=search)
    plain = simplest(prompt_set.inputs) is not Format.JSONL
    context = {"set": prompt_set, "window": window, "search": search, "plain": plain}
    return render(
        request, "compare/prompt_sets/_set.html" if request.htmx else "compare/prompt_sets/detail.html", context
    )


@takes_file(actions.MAX_BYTES)
@requires(Permission.EDIT)
def new(request: Request) -> HttpResponse:
    """Make a set; `?operation=` and `newest=` put inputs of past runs into the box, to look at before saving."""
    if request.method == "POST":
        form = PromptSetForm(request.POST, request.FILES)
        return _save(request, form, None)
    taking = FromRunsForm(request.GET if "operation" in request.GET else None)
    initial: dict[str, Any] = {}
    taken = None
    if taking.is_bound and taking.is_valid():
        inputs = queries.past_inputs(taking.cleaned_data["operation"], taking.cleaned_data["newest"])
        box = queries.box(inputs)
        initial = {"text": box.text, "separator": box.format}
        taken = len(inputs)
    form = PromptSetForm(initial=initial)
    return _page(request, form, None, {"taking": taking, "taken": taken})


@takes_file(actions.MAX_BYTES)
@requires(Permission.EDIT)
def edit(request: Request, pk: int) -> HttpResponse:
    """Change a set; with `seen`, whether somebody else changed it since the form was filled."""
    prompt_set = _found(pk)
    if "seen" in request.GET:
        return changed(request, "this set", prompt_set.edition, event="audit")
    if prompt_set.archived_at:
        messages.error(request, f"{prompt_set.name} is archived. Restore it first.")
        return redirect("prompt_set", pk=pk)
    if request.method == "POST":
        form = PromptSetForm(request.POST, request.FILES)
        return _save(request, form, prompt_set)
    box = queries.box(prompt_set.inputs)
    initial = {
        "name": prompt_set.name,
        "description": prompt_set.description,
        "text": box.text,
        "separator": box.format,
        "expected": prompt_set.edition,
    }
    return _page(request, PromptSetForm(initial=initial), prompt_set, {})


@requires(Permission.EDIT)
@require_POST
def archive(request: Request, pk: int) -> HttpResponse:
    """Take the set off the lists; its page offers to bring it back."""
    prompt_set = _found(pk)
    return _act(request, prompt_set, actions.archive, f"{prompt_set.name} is archived. Restore it here to undo.")


@requires(Permission.EDIT)
@require_POST
def restore(request: Request, pk: int) -> HttpResponse:
    """Bring the set back."""
    prompt_set = _found(pk)
    return _act(request, prompt_set, actions.restore, f"{prompt_set.name} is back on the list.")


@requires(Permission.READ)
@require_POST
def download(request: Request, pk: int, format: str) -> HttpResponse:
    """The inputs as a file: `txt`, one per line (with blank lines between inputs of several lines), or `jsonl`.

    It is noted in the audit first.
    """
    prompt_set = _found(pk)
    chosen = Format.JSONL if format == "jsonl" else simplest(prompt_set.inputs)
    if format != "jsonl" and chosen is Format.JSONL:
        raise Http404  # no such text would say where an input with blank lines ends
    actions.record_download(prompt_set, format, by=actor(request))
    kind = "application/jsonl" if format == "jsonl" else "text/plain"
    response = HttpResponse(write(prompt_set.inputs, chosen), content_type=f"{kind}; charset=utf-8")
    name = slugify(prompt_set.name) or f"prompt-set-{pk}"
    response["Content-Disposition"] = f'attachment; filename="{name}.{format}"'
    return response


def _found(pk: int) -> PromptSet:
    return get_object_or_404(PromptSet.objects.select_related("created_by"), pk=pk)


def _search(request: Request) -> str:
    return request.GET.get("q", "").replace("\x00", "").strip()[:200]


def _save(request: Request, form: PromptSetForm, prompt_set: PromptSet | None) -> HttpResponse:
    """Save the form as a new set or over `prompt_set`. When it is refused, everything typed stays on the page."""
    if not form.is_valid():
        return _refused(request, form, prompt_set, form.problems)
    fields = {name: form.cleaned_data[name] for name in ("name", "description")}
    by = actor(request)
    try:
        if prompt_set is None:
            saved = actions.create_set(inputs=form.checked.inputs, by=by, **fields)
        else:
            expected = form.cleaned_data["expected"] or 0
            saved = actions.change_set(prompt_set, inputs=form.checked.inputs, by=by, expected=expected, **fields)
    except Stale:
        if prompt_set is None:
            raise
        return _conflict(request, form, PromptSet.objects.get(pk=prompt_set.pk))
    except Refused as refused:
        return _refused(request, form, prompt_set, [str(refused)])
    except ValidationError as error:
        return _refused(request, form, prompt_set, error.messages)
    left_out = f" Left out, because they were there before: {form.checked.repeated:,}." if form.checked.repeated else ""
    source = f" The file's inputs were taken from {form.source}." if form.source else ""
    message = f"{saved.name} is saved. Inputs: {saved.input_count:,}.{left_out}{source}"
    return review.done(request, reverse("prompt_set", args=[saved.pk]), message)


def _refused(request: Request, form: PromptSetForm, prompt_set: PromptSet | None, problems: list[str]) -> HttpResponse:
    context = {"problems": problems[:PROBLEMS_SHOWN], "more": max(0, len(problems) - PROBLEMS_SHOWN)}
    if request.htmx:
        return render(request, "compare/prompt_sets/_problems.html", context, status=422)
    return _page(request, form, prompt_set, context, status=422)


def _conflict(request: Request, form: PromptSetForm, theirs: PromptSet) -> HttpResponse:
    """Someone was faster: their inputs against the ones just sent, and the edition that a second save replaces."""
    old, new = (write(inputs, Format.BLOCKS) for inputs in (theirs.inputs, form.checked.inputs))
    compared = max(len(old), len(new)) <= COMPARED_CHARACTERS
    context = {"theirs": theirs, "old": old, "new": new, "compared": compared, "mine": len(form.checked.inputs)}
    if request.htmx:
        return render(request, "compare/prompt_sets/_problems.html", context, status=409)
    data = request.POST.copy()
    data["expected"] = str(theirs.edition)
    form.data = data
    return _page(request, form, theirs, context, status=409)


def _page(
    request: Request,
    form: PromptSetForm,
    prompt_set: PromptSet | None,
    context: dict[str, Any],
    *,
    status: int = 200,
) -> HttpResponse:
    context |= {"form": form, "set": prompt_set, "max_inputs": actions.MAX_INPUTS, "event": "audit"}
    context.setdefault("taking", FromRunsForm())
    context["seen"] = form["expected"].value()
    # Without a box to type in; what was typed before somebody made the set longer stays.
    context["too_long"] = (
        prompt_set is not None and not form.data.get("text") and queries.box(prompt_set.inputs).text is None
    )
    return render(request, "compare/prompt_sets/form.html", context, status=status)


def _act(request: Request, prompt_set: PromptSet, action: Any, message: str) -> HttpResponse:
    try:
        action(prompt_set, by=actor(request))
    except Refused as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, message)
    return redirect("prompt_set", pk=prompt_set.pk)
