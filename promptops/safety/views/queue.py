"""The review queue: verdicts that people review one at a time, and reporting one from a run's page."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST
from django_htmx.http import HttpResponseClientRedirect, push_url

from promptops.engine.safety.guard import SafetyCategory
from promptops.ledger.errors import Refused
from promptops.people.enums import Permission
from promptops.runs.actions import masking
from promptops.runs.enums import SafetyQueue, SafetyReview, SafetySide
from promptops.runs.models import Run, SafetyCheck
from promptops.runs.queries import runs as run_queries
from promptops.runs.queries import verdicts
from promptops.safety.actions import reviews as safety_reviews
from promptops.safety.queries import review_queue
from promptops.texts.numbers import whole_number
from promptops.web import review
from promptops.web.access import actor, requires
from promptops.web.request import Request


@requires(Permission.EDIT)
def index(request: Request) -> HttpResponse:
    """Show the newest verdict that waits in the chosen queue, older than the one that was skipped."""
    return _page(request, before=whole_number(request.GET.get("before")))


@requires(Permission.EDIT)
@require_POST
def decide(request: Request, pk: int) -> HttpResponse:
    """Show the text, mark the verdict right or wrong, or undo that; then show the next one.

    If the text is masked, the audit records that the person has seen it.
    """
    check = review_queue.find_check(pk)
    if check is None:
        raise Http404
    answer = request.POST.get("say", "")
    try:
        if answer == "show":
            if getattr(check.run, f"{check.side}_masked"):
                masking.reveal(check.run, by=actor(request))
            return _page(request, check=check, revealed=True)
        if answer == "back":
            safety_reviews.undo(check, by=actor(request))
            return _page(request, check=review_queue.find_check(pk))
        safety_reviews.review(check, answer, by=actor(request), category=request.POST.get("category", ""))
    except (Refused, ValidationError) as error:
        sentence = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
        return _page(request, before=pk if check.review else pk + 1, error=sentence)
    return _page(request, before=pk, done=review_queue.find_check(pk))


@requires(Permission.EDIT)
@require_POST
def report(request: Request, pk: int) -> HttpResponse:
    """Put a verdict of a run into the queue."""
    try:
        run = run_queries.find_run(pk)
    except Run.DoesNotExist:
        raise Http404 from None
    side = SafetySide.OUTPUT if request.POST.get("side") == SafetySide.OUTPUT else SafetySide.INPUT
    try:
        safety_reviews.report(run, side, request.POST.get("note", ""), by=actor(request))
    except Refused as refused:
        messages.error(request, str(refused))
        address = reverse("run", args=[pk])
        return HttpResponseClientRedirect(address) if request.htmx else redirect(address)
    return review.done(request, reverse("run", args=[pk]), "The verdict is in the review queue.")


def _page(
    request: Request,
    *,
    before: int | None = None,
    check: SafetyCheck | None = None,
    revealed: bool = False,
    done: SafetyCheck | None = None,
    error: str = "",
) -> HttpResponse:
    requested = request.GET.get("queue") or request.POST.get("queue") or ""
    queue = requested if requested in set(SafetyQueue) else ""
    check = check or review_queue.next_in_queue(queue, before)
    thresholds = verdicts.thresholds_at(check.run.revision) if check else {}
    scores = verdicts.score_rows(check.scores, thresholds, check.category) if check else []
    masked = check is not None and getattr(check.run, f"{check.side}_masked")
    context: dict[str, Any] = {
        "check": check,
        "thresholds": thresholds,
        "scores": scores,
        "leading": scores[0] if scores else None,
        "queue": queue,
        "counts": [("", "All", (counts := review_queue.queue_counts())[""])]
        + [(kind.value, kind.label, counts[kind.value]) for kind in SafetyQueue],
        "waiting": counts[queue],
        "skipped": before is not None,
        "masked": masked,
        "hidden": not revealed,
        "text": getattr(check.run, check.side) if check and revealed else "",
        "categories": [category.value for category in SafetyCategory],
        "likely": (check.category or max(check.scores, key=check.scores.__getitem__, default="")) if check else "",
        "done": done,
        "done_right": done is not None and done.review == SafetyReview.RIGHT,
        "error": error,
        "examples": review_queue.example_count(),
    }
    if not request.htmx:
        return render(request, "safety/queue.html", context, status=409 if error else 200)
    response = render(request, "safety/_queue.html", context)
    if (request.htmx.target or "").startswith("queue-"):
        return response  # a part that follows other people's reviews: the reader stays on the page
    query = {name: value for name, value in (("queue", queue), ("before", before)) if value}
    address = reverse("safety_queue")
    return push_url(response, f"{address}?{urlencode(query)}" if query else address)
