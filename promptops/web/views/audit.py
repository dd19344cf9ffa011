"""Who changed what: the list, one entry, and what it says about before and after."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.safestring import SafeString

from promptops.audit import sentence_html
from promptops.enums import Permission
from promptops.models import AuditEntry
from promptops.queries import audit as queries
from promptops.queries.pages import REACH, page, searched
from promptops.text import whole_number
from promptops.web.access import requires
from promptops.web.forms_filters import AuditFilterForm
from promptops.web.lists import clean_query, news


@requires(Permission.READ)
def index(request: HttpRequest) -> HttpResponse:
    """The list, newest first; with `news`, what came since the newest entry of an open page."""
    if (address := clean_query(request)) is not None:
        return redirect(address)
    form = AuditFilterForm(request.GET)
    filters = form.filters()
    entries = queries.listed(filters)
    newest = queries.newest()
    if "news" in request.GET:
        if filters.search:
            entries = entries.filter(seq__gt=newest - REACH)
        return news(request, entries, "audit/_news.html", shown=_told, form=form)
    before, after = whole_number(request.GET.get("before")), whole_number(request.GET.get("after"))
    if filters.search:
        shown = searched(entries, newest=newest, before=before, after=after)
    else:
        shown = page(entries, before=before, after=after)
    return render(request, "audit/index.html", {"form": form, "page": shown, "lines": _told(shown.rows)})


@requires(Permission.READ)
def detail(request: HttpRequest, seq: int) -> HttpResponse:
    """One entry; with `changes`, only what it says about before and after, for the list."""
    try:
        entry_page = queries.found(seq)
    except AuditEntry.DoesNotExist:
        raise Http404 from None
    template = "audit/_changes.html" if "changes" in request.GET else "audit/detail.html"
    return render(request, template, {"shown": entry_page, "sentence": sentence_html(entry_page.entry)})


def _told(entries: list[AuditEntry]) -> list[tuple[AuditEntry, SafeString]]:
    return [(entry, sentence_html(entry)) for entry in entries]
