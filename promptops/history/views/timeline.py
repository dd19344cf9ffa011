"""The pages of the timeline: the list of releases, one moment, and one revision."""

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone

from promptops.history.forms import TimelineForm
from promptops.history.queries import timeline as queries
from promptops.ledger import parts
from promptops.ledger.models import Release
from promptops.people.enums import Permission
from promptops.platform.pages import numbered, page
from promptops.safety.queries import filter_state
from promptops.texts.numbers import whole_number
from promptops.web.access import part_of, requires
from promptops.web.lists import clean_query, news
from promptops.web.request import Request

OTHERS = 20
"""Templates that are no default, on one page."""


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """Show the releases, newest first. With `at`, show the configuration of that moment and the releases before it.

    With `news`, return the releases after those of an open page.
    """
    if (address := clean_query(request)) is not None:
        return redirect(address)
    form = TimelineForm(request.GET)
    at = form.chosen.get("at")
    if at and form.address["at"] != request.GET["at"]:
        query = request.GET.copy()
        query["at"] = form.address["at"]
        return redirect(f"{request.path}?{query.urlencode()}")
    template = form.chosen.get("template")
    releases = queries.listed(template)
    if "news" in request.GET:
        return news(request, releases, "history/timeline/_news.html", shown=queries.release_rows, form=form)
    moment = queries.at(at) if at else None
    if moment:
        releases = releases.filter(revision__lte=moment.release.revision if moment.release else 0)
    shown = page(releases, before=whole_number(request.GET.get("before")), after=whole_number(request.GET.get("after")))
    context = {
        "form": form,
        "template": template,
        "moment": moment,
        "future": at is not None and at > timezone.now(),
        "live_template": moment.configuration.of(template) if template and moment and moment.configuration else None,
        "kept_since": queries.kept_since() if moment and moment.release and not moment.configuration else None,
        "page": shown,
        "window": numbered(
            moment.configuration.others if moment and moment.configuration else [],
            whole_number(request.GET.get("page")),
            size=OTHERS,
        ),
        "rows": queries.release_rows(shown.rows),
    }
    return render(request, "history/timeline/index.html", context)


@requires(Permission.READ)
def revision(request: Request, revision: int) -> HttpResponse:
    """Show one revision: its changes, its whole configuration, and its runs."""
    try:
        shown = queries.revision_page(revision)
    except Release.DoesNotExist:
        raise Http404 from None
    config = filter_state.set_now() if parts.can_roll_back(shown.release.action) else None
    others = shown.configuration.others if shown.configuration else []
    context = {
        "shown": shown,
        "release": shown.release,
        "safety_config": config,
        "window": numbered(others, whole_number(request.GET.get("page")), size=OTHERS),
    }
    return render(request, "history/timeline/revision.html", context)


@requires(Permission.READ)
@part_of("timeline")
def since(request: Request, revision: int) -> HttpResponse:
    """Show what other people released after a revision, as a line of a review panel that is open meanwhile."""
    releases = queries.listed().filter(revision__gt=revision).exclude(user=request.user)
    newest = queries.release_rows(releases[:1])
    context = {"newest": newest[0] if newest else None, "others": releases.count() - 1}
    return render(request, "history/timeline/_since.html", context)
