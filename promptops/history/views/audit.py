"""Who changed what: the list, one entry, what it says about before and after, the check of the chain, and exports."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core import signing
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from promptops.history.forms import AuditFilterForm
from promptops.history.queries import audit as queries
from promptops.ledger import audit
from promptops.ledger.actions.exports import record_export
from promptops.ledger.audit import Link, sentence_html
from promptops.ledger.models import AuditEntry
from promptops.people.enums import Permission
from promptops.platform.pages import REACH, page, searched
from promptops.texts.numbers import whole_number
from promptops.web import exports
from promptops.web.access import actor, requires
from promptops.web.lists import clean_query, news
from promptops.web.request import Request

STEP_SECONDS = 0.7
STEP_AGE = 3600
STEP_SALT = "promptops.audit.verify"


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
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
        return news(request, entries, "history/audit/_news.html", shown=_told, form=form)
    before, after = whole_number(request.GET.get("before")), whole_number(request.GET.get("after"))
    if filters.search:
        shown = searched(entries, newest=newest, before=before, after=after)
    else:
        shown = page(entries, before=before, after=after)
    return render(request, "history/audit/index.html", {"form": form, "page": shown, "lines": _told(shown.rows)})


@requires(Permission.READ)
def detail(request: Request, seq: int) -> HttpResponse:
    """One entry; with `changes`, only what it says about before and after, for the list."""
    try:
        entry_page = queries.found(seq)
    except AuditEntry.DoesNotExist:
        raise Http404 from None
    template = "history/audit/_changes.html" if "changes" in request.GET else "history/audit/detail.html"
    return render(request, template, {"shown": entry_page, "sentence": sentence_html(entry_page.entry)})


@requires(Permission.READ)
def verify(request: Request) -> HttpResponse:
    """Check the chain, for about a second; the page asks for the next step until all is checked."""
    given = request.GET.get("pin", "").strip()
    context: dict[str, Any] = {"pin": given}
    try:
        pin = Link.read(given) if given else None
    except ValidationError as error:
        return render(request, "history/audit/verify.html", context | {"refused": " ".join(error.messages)}, status=422)
    verdict = audit.verify(_checked(request, pin), pin=pin, seconds=STEP_SECONDS)
    context |= {"verdict": verdict, "pinned": pin}
    if verdict.done:
        context["unprotected"] = queries.unprotected()
    else:
        step = signing.dumps([str(verdict.reached), str(pin or "")], salt=STEP_SALT)
        context["next"] = urlencode({"step": step, **({"pin": given} if given else {})})
    return render(request, "history/audit/_verify.html" if request.htmx else "history/audit/verify.html", context)


def _checked(request: Request, pin: Link | None) -> Link:
    """How far the steps before came. Signed, so that no address makes a check skip what it should look at."""
    try:
        reached, checked_pin = signing.loads(request.GET.get("step", ""), salt=STEP_SALT, max_age=STEP_AGE)
    except signing.BadSignature:
        return Link()
    return Link.read(reached) if checked_pin == str(pin or "") else Link()


@requires(Permission.READ)
@require_POST
def export(request: Request) -> HttpResponseBase:
    """All entries that match the filters of the address, oldest first, as a file; noted in the audit first."""
    form = AuditFilterForm(request.GET)
    format = exports.FORMATS.get(request.POST.get("format", ""))
    if format is None or not form.is_valid():
        messages.error(request, "Nothing was exported: a filter cannot be used. Mend it or take it away.")
        return redirect(f"{reverse('audit')}?{form.query}")
    filters = {name: form.data[name].strip() for name in form.given}
    last = record_export(
        "audit.exported", by=actor(request), object_name="the audit", after={"format": format.name, **filters}
    )
    entries = queries.listed(form.filters()).filter(seq__lte=last)
    return StreamingHttpResponse(
        exports.stream(entries, format),
        content_type=format.content_type,
        headers={"Content-Disposition": f'attachment; filename="audit-to-{last}.{format.name}"'},
    )


def _told(entries: list[AuditEntry]) -> list[tuple[AuditEntry, SafeString]]:
    return [(entry, sentence_html(entry)) for entry in entries]
