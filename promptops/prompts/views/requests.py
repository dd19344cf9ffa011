"""The pages of requests for a release: the list, one request, and its answers."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from promptops.ledger.errors import Refused
from promptops.people.enums import Permission
from promptops.prompts import queries
from promptops.prompts.actions import handover as actions
from promptops.prompts.changes import PublishRequest, setting_changes
from promptops.prompts.content import FIELDS, NOTHING
from promptops.prompts.models import ReleaseRequest
from promptops.prompts.views.lookup import request_or_404
from promptops.prompts.views.saving import plain_refusal
from promptops.prompts.views.taking import take
from promptops.texts.numbers import whole_number
from promptops.web import review as reviews
from promptops.web.access import actor, part_of, requires
from promptops.web.lists import clean_query
from promptops.web.request import Request


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """Show the active requests; with `?ended=1` those that were published or withdrawn. `?page=` goes on."""
    if (address := clean_query(request)) is not None:
        return redirect(address)
    ended = request.GET.get("ended") == "1"
    window = queries.handover.listed(ended=ended, number=whole_number(request.GET.get("page")))
    page = "prompts/requests/_list.html" if request.htmx else "prompts/requests/index.html"
    return render(request, page, {"window": window, "ended": ended})


@requires(Permission.EDIT)
@part_of("overview")
def own(request: Request) -> HttpResponse:
    """Return the person's requests that were sent back, for the overview."""
    return render(request, "prompts/_sent_back.html", {"sent_back": queries.handover.sent_back_to(request.user)})


@requires(Permission.READ)
def detail(request: Request, request_id: int) -> HttpResponse:
    """Show one request with its difference from what is live now. With `seen`, say whether it has changed since."""
    asked = request_or_404(request_id)
    seen = _state(asked)
    if shown := request.GET.get("seen"):
        changed = "" if shown == seen else "The request or the live version has changed."
        return render(request, "prompts/requests/_changed.html", {"seen": shown, "changed": changed})
    arrival = queries.handover.Arrival(asked)
    live = asked.template.live_version
    before = live.content if live else NOTHING
    content = arrival.content or asked.content
    context: dict[str, Any] = {
        "asked": asked,
        "template": asked.template,
        "live": live,
        "arrival": arrival,
        "before": before,
        "content": content,
        "fields": [(name, content[name]) for name in FIELDS if content[name] is not None],
        "changes": setting_changes(before, content),
        "own_changes": setting_changes(asked.base.content if asked.base else NOTHING, asked.content),
        "is_own": asked.user_id == request.user.pk,
        "samples": queries.samples.of(asked.template.operation),
        "seen": seen,
    }
    return render(request, "prompts/requests/detail.html", context)


def _state(asked: ReleaseRequest) -> str:
    """Return a word that changes with the request, its answer, the live version and the archive."""
    archived = "-archived" if asked.template.archived_at else ""
    return f"{asked.mark}-{asked.template.live_version_id}{archived}"


@requires(Permission.RELEASE)
@require_POST
def publish(request: Request, request_id: int) -> HttpResponse:
    """Publish the text of the request, after the review panel."""
    asked = request_or_404(request_id)
    expected, edition = (whole_number(request.POST.get(name)) for name in ("expected", "edition"))
    return reviews.run(request, PublishRequest(asked, queries.templates.next_number(asked.template), expected, edition))


@requires(Permission.RELEASE)
@require_POST
def send_back(request: Request, request_id: int) -> HttpResponse:
    """Send the request back to its author with the typed comment."""
    asked = request_or_404(request_id)
    comment, edition = request.POST.get("comment", ""), whole_number(request.POST.get("edition"))
    try:
        actions.send_back(asked, comment, by=actor(request), edition=edition)
    except Refused as refused:
        return plain_refusal(str(refused))
    return reviews.done(request, reverse("release_requests"), f"The request is back with {asked.user.name}.")


@requires(Permission.EDIT)
@require_POST
def withdraw(request: Request, request_id: int) -> HttpResponse:
    """Withdraw one's own request."""
    asked = request_or_404(request_id)
    try:
        actions.withdraw(asked, by=actor(request))
    except Refused as refused:
        return plain_refusal(str(refused))
    page = reverse("template", args=[asked.template.name])
    return reviews.done(request, page, "Your request is withdrawn. Your draft is unchanged.")


@requires(Permission.EDIT)
@require_POST
def edit(request: Request, request_id: int) -> HttpResponse:
    """Put the text of the request into the person's own editor. It starts from the version that it was begun with."""
    asked = request_or_404(request_id)
    return take(request, asked.template, asked, base=asked.base, what=f"{asked.user.name}'s request")
