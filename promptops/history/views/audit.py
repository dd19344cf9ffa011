"""The pages of the audit: the list, one entry, the check of the chain, and exports."""

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
from promptops.ledger import chain as audit_chain
from promptops.ledger.actions.exports import record_export
from promptops.ledger.chain import Link
from promptops.ledger.models import AuditEntry
from promptops.ledger.sentences import sentence_html
from promptops.people.enums import Permission
from promptops.platform.pages import REACH, searched
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
    """Show the list, newest first. With `news`, return the entries after those of an open page."""
    if (address := clean_query(request)) is not None:
        return redirect(address)
    form = AuditFilterForm(request.GET)
    filters = form.filters()
    newest = queries.newest()
    if "news" in request.GET:
        if filters.is_search:
            entries = queries.listed(filters).filter(seq__gt=newest - REACH)
        else:
            entries = queries.narrowed(filters).since(whole_number(request.GET.get("since")) or 0)
        return news(request, entries, "history/audit/_news.html", shown=_with_sentences, form=form)
    before, after = whole_number(request.GET.get("before")), whole_number(request.GET.get("after"))
    if filters.is_search:
        shown = searched(queries.listed(filters), newest=newest, before=before, after=after)
    else:
        shown = queries.narrowed(filters).page(before=before, after=after)
    return render(
        request, "history/audit/index.html", {"form": form, "page": shown, "lines": _with_sentences(shown.rows)}
    )


@requires(Permission.READ)
def detail(request: Request, seq: int) -> HttpResponse:
    """Show one entry. With `changes`, return only its values before and after, for the list."""
    try:
        shown = queries.entry_page(seq)
    except AuditEntry.DoesNotExist:
        raise Http404 from None
    template = "history/audit/_changes_below.html" if "changes" in request.GET else "history/audit/detail.html"
    return render(request, template, {"shown": shown, "sentence": sentence_html(shown.entry)})


@requires(Permission.READ)
def verify(request: Request) -> HttpResponse:
    """Check the chain for about a second. The page requests further steps until all entries are checked."""
    typed_pin = request.GET.get("pin", "").strip()
    context: dict[str, Any] = {"pin": typed_pin}
    try:
        pin = Link.read(typed_pin) if typed_pin else None
    except ValidationError as error:
        return render(request, "history/audit/verify.html", context | {"refused": " ".join(error.messages)}, status=422)
    verdict = audit_chain.verify(_checked(request, pin), pin=pin, seconds=STEP_SECONDS)
    context |= {"verdict": verdict, "pinned": pin}
    if verdict.done:
        context["unprotected"] = queries.unprotected()
    else:
        step = signing.dumps([str(verdict.reached), str(pin or "")], salt=STEP_SALT)
        context["next"] = urlencode({"step": step, **({"pin": typed_pin} if typed_pin else {})})
    return render(request, "history/audit/_verify.html" if request.htmx else "history/audit/verify.html", context)


def _checked(request: Request, pin: Link | None) -> Link:
    """Return the last entry that earlier steps checked. It is signed, so that no address makes a check skip entries."""
    try:
        reached, checked_pin = signing.loads(request.GET.get("step", ""), salt=STEP_SALT, max_age=STEP_AGE)
    except signing.BadSignature:
        return Link()
    return Link.read(reached) if checked_pin == str(pin or "") else Link()


@requires(Permission.READ)
@require_POST
def export(request: Request) -> HttpResponseBase:
    """Export all entries that match the filters of the address, oldest first. The audit records it first."""
    form = AuditFilterForm(request.GET)
    format = exports.FORMATS.get(request.POST.get("format", ""))
    if format is None or not form.is_valid():
        messages.error(request, "Nothing was exported, because a filter is invalid. Correct or remove the filter.")
        return redirect(f"{reverse('audit')}?{form.query}")
    filters = {name: form.data[name].strip() for name in form.chosen}
    last = record_export(
        "audit.exported", by=actor(request), object_name="the audit", after={"format": format.name, **filters}
    )
    entries = queries.listed(form.filters()).filter(seq__lte=last)
    return StreamingHttpResponse(
        exports.stream(entries, format),
        content_type=format.content_type,
        headers={"Content-Disposition": f'attachment; filename="audit-to-{last}.{format.name}"'},
    )


def _with_sentences(entries: list[AuditEntry]) -> list[tuple[AuditEntry, SafeString]]:
    return [(entry, sentence_html(entry)) for entry in entries]
