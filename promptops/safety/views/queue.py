"""The review queue: verdicts that people review one at a time, and reporting one from a run's page."""

from dataclasses import dataclass
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
from promptops.safety.actions import second_looks
from promptops.safety.enums import PairQueue, QueueOrder
from promptops.safety.queries import review_queue
from promptops.safety.queries import second_looks as pairs
from promptops.safety.queries.review_queue import Place
from promptops.texts.numbers import whole_number
from promptops.web import review
from promptops.web.access import actor, requires
from promptops.web.request import Request

QUEUES = {"": "All", **dict(SafetyQueue.choices), **dict(PairQueue.choices)}


@dataclass(frozen=True)
class Choice:
    """The queue that a person reviews, one of QUEUES, and its order."""

    queue: str
    order: QueueOrder

    @classmethod
    def of(cls, request: Request) -> "Choice":
        """Return the choice of the address or the form; unknown values count as none."""
        queue, order = (request.GET.get(name) or request.POST.get(name) or "" for name in ("queue", "order"))
        is_known = order in set(QueueOrder)
        return cls(queue if queue in QUEUES else "", QueueOrder(order) if is_known else QueueOrder.NEWEST)

    @property
    def pair(self) -> PairQueue | None:
        """The queue of verdicts that two people review, or None."""
        return PairQueue(self.queue) if self.queue in set(PairQueue) else None

    def query(self, **more: object) -> str:
        """Return the query of an address with this choice."""
        order = "" if self.order is QueueOrder.NEWEST else self.order.value
        given = {"queue": self.queue, "order": order, **more}
        return urlencode({name: value for name, value in given.items() if value})

    def next(self, request: Request, place: Place | None) -> SafetyCheck | None:
        """Return the verdict to review from the place on."""
        if self.pair:
            return pairs.next_for(request.user, self.pair, self.order, place)
        return review_queue.next_in_queue(self.queue, self.order, place)

    def undo(self, check: SafetyCheck, request: Request) -> None:
        """Undo what a person did with the verdict in this queue."""
        (second_looks.undo if self.pair else safety_reviews.undo)(check, by=actor(request))

    def answer(self, check: SafetyCheck, answer: str, request: Request) -> None:
        """Mark the verdict as this queue does: as the first, the second or the third person."""
        mark = {PairQueue.SECOND: second_looks.look_again, PairQueue.DISPUTED: second_looks.settle}
        act = mark[self.pair] if self.pair else safety_reviews.review
        act(check, answer, by=actor(request), category=request.POST.get("category", ""))


@requires(Permission.EDIT)
def index(request: Request) -> HttpResponse:
    """Show the first verdict of the chosen queue and order, behind the skipped one (`before`), or from one on."""
    before, first = whole_number(request.GET.get("before")), whole_number(request.GET.get("from"))
    check = review_queue.find_check(before or first or 0)
    return _page(request, place=Place(check, is_before=before is None) if check else None, skipped=before is not None)


@requires(Permission.EDIT)
@require_POST
def decide(request: Request, pk: int) -> HttpResponse:
    """Show the text, mark the verdict right or wrong, or undo that; then show the next one.

    If the text is masked, the audit records that the person has seen it.
    """
    check = review_queue.find_check(pk)
    if check is None:
        raise Http404
    answer, choice = request.POST.get("say", ""), Choice.of(request)
    try:
        if answer == "show":
            if getattr(check.run, f"{check.side}_masked"):
                masking.reveal(check.run, by=actor(request))
            return _page(request, check=check, revealed=True)
        if answer == "back":
            choice.undo(check, request)
            return _page(request, check=review_queue.find_check(pk))
        choice.answer(check, answer, request)
    except (Refused, ValidationError) as error:
        sentence = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
        return _page(request, place=Place(check, is_before=True), error=sentence)
    return _page(request, place=Place(check), skipped=True, done=review_queue.find_check(pk))


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
    place: Place | None = None,
    check: SafetyCheck | None = None,
    skipped: bool = False,
    revealed: bool = False,
    done: SafetyCheck | None = None,
    error: str = "",
) -> HttpResponse:
    choice = Choice.of(request)
    check = check or choice.next(request, place)
    counts = {**review_queue.queue_counts(), **pairs.counts(request.user)}
    context = {
        **_shown(check, revealed=revealed),
        "choice": choice,
        "queue": choice.queue,
        "this_queue": choice.query(),
        "skip_query": choice.query(before=check.pk) if check else "",
        "orders": [(order, Choice(choice.queue, order).query()) for order in _orders(choice)],
        "counts": [
            (queue, label, counts[queue], Choice(queue, choice.order).query()) for queue, label in QUEUES.items()
        ],
        "unreviewed": counts[choice.queue],
        "skipped": skipped,
        "done": done,
        "done_right": done is not None and done.review == SafetyReview.RIGHT,
        "error": error,
        "examples": review_queue.example_count(),
        "agreement": pairs.agreement(),
        "disputed": (disputed := pairs.disputed() if choice.pair is PairQueue.DISPUTED else []),
        "disputed_more": len(disputed) == pairs.DISPUTED_SHOWN,
    }
    if not request.htmx:
        return render(request, "safety/queue.html", context, status=409 if error else 200)
    response = render(request, "safety/_queue.html", context)
    if (request.htmx.target or "").startswith("queue-"):
        return response  # a part that follows other people's reviews: the reader stays on the page
    query = choice.query(**({"before": place.check.pk} if place and not place.is_before else {}))
    address = reverse("safety_queue")
    return push_url(response, f"{address}?{query}" if query else address)


def _orders(choice: Choice) -> list[QueueOrder]:
    """Return the orders to choose from. One of them needs verdicts of the second stage."""
    has_both = choice.order is QueueOrder.DISAGREEING or review_queue.any_of_both_stages()
    return [order for order in QueueOrder if has_both or order is not QueueOrder.DISAGREEING]


def _shown(check: SafetyCheck | None, *, revealed: bool) -> dict[str, Any]:
    """Return the context of one verdict: its scores, and its text if it is revealed."""
    if check is None:
        return {"check": None, "hidden": True}
    thresholds = verdicts.thresholds_at(check.run.revision)
    scores = verdicts.score_rows(check.scores, thresholds, check.category)
    return {
        "check": check,
        "thresholds": thresholds,
        "scores": scores,
        "leading": scores[0] if scores else None,
        "masked": getattr(check.run, f"{check.side}_masked"),
        "hidden": not revealed,
        "text": getattr(check.run, check.side) if revealed else "",
        "categories": [category.value for category in SafetyCategory],
        "likely": check.category or max(check.scores, key=check.scores.__getitem__, default=""),
    }
