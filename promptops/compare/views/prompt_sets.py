"""The pages of prompt sets: the list, one set with its inputs, the form, downloads and the archive."""

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

COMPARED_CHARACTERS = 60_000
"""Longer texts are not compared when two people edit the same set; the other person's set can be opened."""


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """Show the sets, newest first; `?archived=1` shows the archive, `?q=` searches names and descriptions."""
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
    """Show one set with its inputs, 50 to a page; `?q=` searches them. Return 204 if `seen` is still its edition."""
    prompt_set = _set_or_404(pk)
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
    """Show and accept the form for a new set; `?operation=` and `newest=` fill its box with inputs of past runs."""
    if request.method == "POST":
        form = PromptSetForm(request.POST, request.FILES)
        return _save(request, form, None)
    from_runs = FromRunsForm(request.GET if "operation" in request.GET else None)
    initial: dict[str, Any] = {}
    past_count = None
    if from_runs.is_bound and from_runs.is_valid():
        inputs = queries.past_inputs(from_runs.cleaned_data["operation"], from_runs.cleaned_data["newest"])
        box = queries.box(inputs)
        initial = {"text": box.text, "separator": box.format}
        past_count = len(inputs)
    form = PromptSetForm(initial=initial)
    return _page(request, form, None, {"from_runs": from_runs, "past_count": past_count})


@takes_file(actions.MAX_BYTES)
@requires(Permission.EDIT)
def edit(request: Request, pk: int) -> HttpResponse:
    """Show and accept the form of a set; with `seen`, report whether another person has changed the set meanwhile."""
    prompt_set = _set_or_404(pk)
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
    """Archive a set; its page offers to restore it."""
    prompt_set = _set_or_404(pk)
    return _act(request, prompt_set, actions.archive, f"{prompt_set.name} is archived. Restore it here to undo.")


@requires(Permission.EDIT)
@require_POST
def restore(request: Request, pk: int) -> HttpResponse:
    """Restore an archived set."""
    prompt_set = _set_or_404(pk)
    return _act(request, prompt_set, actions.restore, f"{prompt_set.name} is restored.")


@requires(Permission.READ)
@require_POST
def download(request: Request, pk: int, format: str) -> HttpResponse:
    """Send the inputs as a file: `txt`, one per line (or with blank lines between inputs of several lines), or `jsonl`.

    The download is recorded in the audit first.
    """
    prompt_set = _set_or_404(pk)
    chosen = Format.JSONL if format == "jsonl" else simplest(prompt_set.inputs)
    if format != "jsonl" and chosen is Format.JSONL:
        raise Http404  # a plain text cannot show where an input with blank lines ends
    actions.record_download(prompt_set, format, by=actor(request))
    kind = "application/jsonl" if format == "jsonl" else "text/plain"
    response = HttpResponse(write(prompt_set.inputs, chosen), content_type=f"{kind}; charset=utf-8")
    name = slugify(prompt_set.name) or f"prompt-set-{pk}"
    response["Content-Disposition"] = f'attachment; filename="{name}.{format}"'
    return response


def _set_or_404(pk: int) -> PromptSet:
    return get_object_or_404(PromptSet.objects.select_related("created_by"), pk=pk)


def _search(request: Request) -> str:
    return request.GET.get("q", "").replace("\x00", "").strip()[:200]


def _save(request: Request, form: PromptSetForm, prompt_set: PromptSet | None) -> HttpResponse:
    """Save the form as a new set or over `prompt_set`. If it is refused, everything typed stays on the page."""
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
    repeated = f" Repeated inputs left out: {form.checked.repeated:,}." if form.checked.repeated else ""
    source = f" The file's inputs are from {form.source}." if form.source else ""
    message = f"{saved.name} is saved. Inputs: {saved.input_count:,}.{repeated}{source}"
    return review.done(request, reverse("prompt_set", args=[saved.pk]), message)


def _refused(request: Request, form: PromptSetForm, prompt_set: PromptSet | None, problems: list[str]) -> HttpResponse:
    context = {"problems": problems[:PROBLEMS_SHOWN], "more": max(0, len(problems) - PROBLEMS_SHOWN)}
    if request.htmx:
        return render(request, "compare/prompt_sets/_problems.html", context, status=422)
    return _page(request, form, prompt_set, context, status=422)


def _conflict(request: Request, form: PromptSetForm, theirs: PromptSet) -> HttpResponse:
    """Show the inputs that another person saved beside the ones just sent. Saving again replaces that edition."""
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
    context.setdefault("from_runs", FromRunsForm())
    context["seen"] = form["expected"].value()
    # A set that is too long gets no box, but a text that was typed before the set grew stays.
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
