"""Pages of runs: the list, one run, unmasking and erasing its texts. Runs in progress belong to `runs.socket`."""

from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from promptops.engine.rewrite import parse_alternatives
from promptops.ledger.errors import Refused
from promptops.people.enums import Permission
from promptops.prompts.queries import operations
from promptops.runs.actions import erasing, masking
from promptops.runs.answers import stored
from promptops.runs.enums import RunSource, SafetyQueue
from promptops.runs.forms import RunFilterForm
from promptops.runs.models import Attempt, Run
from promptops.runs.queries import answers as kept
from promptops.runs.queries import expiry, verdicts
from promptops.runs.queries import runs as queries
from promptops.runs.trees import read_tree
from promptops.runs.written import pieces
from promptops.texts.numbers import whole_number
from promptops.web import review
from promptops.web.access import actor, part_of, requires
from promptops.web.lists import Neighbor, clean_query, news
from promptops.web.request import Request


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """Show the list, newest first; with `news`, the runs since the newest row of an open page."""
    if (address := clean_query(request)) is not None:
        return redirect(address)
    form = RunFilterForm(request.GET)
    runs = queries.listed(form.filters())
    if "news" in request.GET:
        arrived = runs.since(whole_number(request.GET.get("since")) or 0)
        return news(request, arrived, "runs/_runs_news.html", shown=queries.shown, form=form)
    shown = runs.page(before=whole_number(request.GET.get("before")), after=whole_number(request.GET.get("after")))
    queries.shown(shown.rows)
    context = {"form": form, "page": shown, **queries.kept_days()}
    return render(request, "runs/index.html", context)


@requires(Permission.READ)
def detail(request: Request, pk: int) -> HttpResponse:
    """Show one run with its attempts. Texts that the safety filter blocked, or would have blocked, are masked.

    A run that was deleted by its age has a page that says so.
    """
    try:
        run = queries.find_run(pk)
    except Run.DoesNotExist:
        return _deleted_or_404(request, pk)
    return _page(request, run, revealed=False)


@requires(Permission.READ)
@part_of("runs")
def kept_answers(request: Request) -> HttpResponse:
    """Show the answers of the runs that `run` names as cards, for a page that kept them through a reload."""
    numbers = [whole_number(each) or 0 for each in request.GET.getlist("run")]
    cards = [
        (f"try-{int(run.at.timestamp() * 1000)}-r{run.pk}", stored(run, operations.of(run.operation)))
        for run in kept.kept(numbers)
    ]
    return render(request, "runs/_try_kept.html", {"cards": cards})


@requires(Permission.READ)
def of_machine(request: Request, public_id: UUID) -> HttpResponse:
    """Lead from the id in a machine's answer to the page of the run, which exists once the run is recorded."""
    pk = queries.number_of(public_id)
    if pk is None:
        raise Http404
    return redirect("run", pk)


@requires(Permission.EDIT)
@require_POST
def reveal(request: Request, pk: int) -> HttpResponse:
    """Show the run once without masks. The audit records who unmasked it."""
    run = _run_or_404(pk)
    try:
        masking.reveal(run, by=actor(request))
    except Refused:
        return _page(request, run, revealed=False)  # erased meanwhile, or no longer masked
    return _page(request, run, revealed=True)


@requires(Permission.ADMINISTER)
@require_POST
def erase(request: Request, pk: int) -> HttpResponse:
    """Erase the texts of a run. The panel first shows which data is erased and which stays."""
    run = _run_or_404(pk)
    if not review.confirmed(request):
        return render(request, "runs/_run_erase.html", {"run": run})
    erasing.erase(run, by=actor(request))
    return review.done(request, reverse("run", args=[pk]), f"The text of run {pk} was erased.")


def _deleted_or_404(request: Request, pk: int) -> HttpResponse:
    deletion = expiry.deletion_of(pk)
    if deletion is None:
        raise Http404
    # An open page of the run fetches itself again, and htmx shows no answer with an error's status.
    status = 200 if request.htmx else 410
    return render(request, "runs/deleted.html", {"pk": pk, "deletion": deletion}, status=status)


def _run_or_404(pk: int) -> Run:
    try:
        return queries.find_run(pk)
    except Run.DoesNotExist:
        raise Http404 from None


def _page(request: Request, run: Run, *, revealed: bool) -> HttpResponse:
    input_shown = revealed or not run.input_masked
    output_shown = revealed or not run.output_masked
    raw_shown = output_shown and (revealed or not run.raw_masked)
    alternatives: list[str] = []
    spec = operations.of(run.operation)
    count = spec.count_or_default(run.count)
    if count is not None and run.output and output_shown:
        alternatives = parse_alternatives(run.output, count)
    shows_written = bool(run.output) and raw_shown
    timeline = queries.timeline(run)
    thresholds = verdicts.thresholds_at(run.revision)
    context = {
        "run": run,
        "thresholds": thresholds,
        "verdicts": [
            (check, verdicts.score_rows(check.scores, thresholds, check.category)) for check in run.safety_checks.all()
        ],
        "appeals": "" if run.erased_at or not request.user.may(Permission.EDIT) else _appealable(run),
        "unjudged": any(check.blocked and check.decision == "unavailable" for check in run.safety_checks.all()),
        "alternatives": alternatives,
        "tree": read_tree(run.output) if spec.answer == "json" and run.output and output_shown else "",
        "written": pieces(run.output, run.raw, alternatives) if shows_written else [],
        "written_masked": bool(run.raw) and output_shown and not raw_shown,
        "declined": _declined(run, timeline.rows[-1].attempt if timeline.rows else None),
        "timeline": timeline,
        "input_shown": input_shown,
        "spec": spec,
        "output_shown": output_shown,
        "revealed": revealed,
        "runs_again": not run.erased_at and not run.input_masked and run.source != RunSource.TEST,
        "opens": run.template is not None and not run.template.archived_at,
        "most_answers": kept.MOST,
    }
    return render(request, "runs/detail.html", context | _neighbors(run))


def _appealable(run: Run) -> str:
    """Return the side of the run that was blocked and that nobody has reviewed or reported; "" if there is none."""
    open_checks = (check for check in run.safety_checks.all() if check.blocked and not check.review)
    return next((check.side for check in open_checks if check.queue != SafetyQueue.REPORTED), "")


def _neighbors(run: Run) -> dict[str, Neighbor | None]:
    numbers = dict(zip(("older", "newer"), queries.neighbors(run), strict=True))
    return {
        side: Neighbor(number, f"Run {number}", reverse("run", args=[number])) if number else None
        for side, number in numbers.items()
    }


def _declined(run: Run, last: Attempt | None) -> str:
    """Return the model's own words if it declined to answer, "" otherwise.

    A refusal with an HTTP status, or by a filter, comes from the vendor and not from the model.
    """
    if last is None or last.error_kind != "refused" or last.status or last.finish_reason == "content_filter":
        return ""
    return run.error.removeprefix(f"{last.provider} refused: ")
