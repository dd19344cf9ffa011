"""The list of templates with its search, and the form that creates a template."""

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.html import format_html_join

from promptops.people.enums import Permission
from promptops.platform.pages import PAGE_SIZE
from promptops.prompts import queries
from promptops.prompts.actions.templates import create_template
from promptops.prompts.forms import TemplateForm
from promptops.prompts.queries.search import search
from promptops.texts.numbers import whole_number
from promptops.web.access import actor, part_of, requires
from promptops.web.filters import SearchForm
from promptops.web.lists import clean_query
from promptops.web.request import Request


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """Show the templates by operation; with `?archived=1` the archive, with `?q=` the search results.

    `?operation=` leaves out the others, and `?page=` goes on.
    """
    if (address := clean_query(request)) is not None:
        return redirect(address)
    form = SearchForm(request.GET, auto_id="prompts-%s", label_suffix="")
    archived = request.GET.get("archived") == "1"
    if form.is_valid() and (words := form.cleaned_data["q"]):
        page = "prompts/_results.html" if request.htmx else "prompts/index.html"
        return render(request, page, {"form": form, "results": search(words, request.user)})
    counts = queries.templates.per_operation(archived=archived)
    operation = request.GET.get("operation", "")
    if not operation.isprintable():  # PostgreSQL refuses a NUL
        operation = ""
    number = whole_number(request.GET.get("page"))
    context = {
        "form": form,
        "archived": archived,
        "window": queries.templates.listed(request.user, archived=archived, operation=operation, number=number),
        "operation": operation,
        "counts": counts if operation or sum(counts.values()) > PAGE_SIZE else {},
    }
    return render(request, "prompts/_list.html" if request.htmx else "prompts/index.html", context)


@requires(Permission.READ)
@part_of("prompts")
def names(request: Request) -> HttpResponse:
    """Return the names of all templates, archived ones too, as the options of a filter's suggestions."""
    listed = queries.templates.names()
    return HttpResponse(format_html_join("\n", '<option value="{}">', ((name,) for name in listed)))


@requires(Permission.EDIT)
def new(request: Request) -> HttpResponse:
    """Create a template. Its first text is written in the editor."""
    operation = request.GET.get("operation")
    form = TemplateForm(request.POST or None, initial={"operation": operation} if operation else None)
    if request.method == "POST" and form.is_valid():
        try:
            template = create_template(by=actor(request), **form.cleaned_data)
        except ValidationError as error:
            for field, errors in error.message_dict.items():
                form.add_error(field if field in form.fields else None, errors)
        else:
            return redirect("template", name=template.name)
    return render(request, "prompts/new.html", {"form": form}, status=422 if form.is_bound else 200)
