"""The history of a template: its releases, one version, comparing two, rolling back to one, editing from one."""

from django.db.models import Q, QuerySet
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST
from django_htmx.http import reswap, retarget

from promptops.fleet.queries.levers import restored_template
from promptops.ledger.models import Release
from promptops.people.enums import Permission
from promptops.platform.pages import arrived
from promptops.prompts import queries
from promptops.prompts.changes import RollBackVersion, settings_of
from promptops.prompts.models import Template, Version
from promptops.prompts.views.lookup import template_or_404, version_or_404
from promptops.prompts.views.taking import take
from promptops.texts import diffs
from promptops.texts.numbers import estimate_tokens, whole_number
from promptops.web import review as reviews
from promptops.web.access import requires
from promptops.web.lists import Neighbor
from promptops.web.request import Request


@requires(Permission.READ)
def history(request: Request, name: str) -> HttpResponse:
    """Show the releases, newest first, each with its difference.

    With `news`, return the list if there are releases since that of an open page, or their number if it is being read.
    """
    template = template_or_404(name)
    releases = queries.releases.of_template(template)
    news = request.GET.get("news")
    if news:
        since = whole_number(request.GET.get("since")) or 0
        fresh, more = arrived(releases.since(since), since=since)
        rows = queries.releases.changing(template, fresh)
        if not rows:
            return HttpResponse(status=204)
        if news != "rows":
            return render(request, "_news.html", {"rows": rows, "more": more, "one": "release", "many": "releases"})
        request.GET = QueryDict()  # of the page that gets the list: its links must not ask for news
    before, after = (whole_number(request.GET.get(side)) for side in ("before", "after"))
    page = releases.page(before=before, after=after)
    days = queries.releases.by_day(queries.releases.rows(template, page))
    context = {"template": template, "page": page, "days": days, "tab": "history"}
    context["since"] = page.rows[0].pk if page.rows else 0
    if news:  # the list is replaced as a whole: what was live is live no longer
        return retarget(reswap(render(request, "prompts/_history.html", context), "outerHTML"), "#list")
    return render(request, "prompts/history.html", context)


@requires(Permission.READ)
def version(request: Request, name: str, number: int) -> HttpResponse:
    """Show one version: text, settings, note, hash, releases."""
    template = template_or_404(name)
    shown = version_or_404(template, number)
    restored = [revision for revision, how in restored_template(name).items() if how == f"v{number}"]
    releases = Release.objects.filter(Q(version=shown) | Q(pk__in=restored)).select_related("comparison")
    context = {
        "template": template,
        "version": shown,
        "tokens": estimate_tokens(shown.body),
        "older": _neighbor(template, template.versions.filter(number__lt=number)),
        "newer": _neighbor(template, template.versions.filter(number__gt=number).order_by("number")),
        "releases": list(releases.defer("packed_configuration", "evidence")[:20]),
        "tab": "history",
    }
    return render(request, "prompts/version.html", context)


def _neighbor(template: Template, versions: QuerySet[Version]) -> Neighbor | None:
    number = versions.values_list("number", flat=True).first()
    return Neighbor(number, f"v{number}", reverse("version", args=[template.name, number])) if number else None


@requires(Permission.READ)
def diff(request: Request, name: str) -> HttpResponse:
    """Compare `?a=` with `?b=`, each `live`, `draft` (the person's own) or a version's number.

    `?view=` is `side` or `inline`. Without it the page is side by side on a wide screen.
    """
    template = template_or_404(name)
    usual = "live" if template.live_version else "draft"
    a, b = (queries.templates.text(template, request.user, request.GET.get(side) or usual) for side in ("a", "b"))
    if a is None or b is None:
        raise Http404
    view = request.GET.get("view")
    lines = diffs.diff_lines(a.content["body"], b.content["body"])
    settings = settings_of(a.content, b.content)
    context = {
        "template": template,
        "texts": queries.templates.comparable(template, request.user),
        "a": a,
        "b": b,
        "settings": settings,
        "settings_differ": any(setting.before != setting.after for setting in settings),
        "rows": diffs.fold(lines),
        "summary": diffs.summary(lines),
        "view": {"inline": "", "side": "side"}.get(view or "", "auto"),
        "tab": "history",
    }
    return render(request, "prompts/diff.html", context)


@requires(Permission.RELEASE)
@require_POST
def roll_back(request: Request, name: str, number: int) -> HttpResponse:
    """Roll back to an older version, after the review panel."""
    template = template_or_404(name)
    expected = whole_number(request.POST.get("expected"))
    return reviews.run(request, RollBackVersion(template, version_or_404(template, number), expected))


@requires(Permission.EDIT)
@require_POST
def edit_from(request: Request, name: str, number: int) -> HttpResponse:
    """Put a version's text into the editor, as a draft that starts from the live version."""
    template = template_or_404(name)
    return take(request, template, version_or_404(template, number), base=template.live_version, what=f"v{number}")
