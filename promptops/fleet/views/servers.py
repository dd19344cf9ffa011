"""The Fleet page, a server's page, and the parts of other pages that show servers: they include them by address."""

from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from promptops.fleet import now
from promptops.fleet.actions import servers as actions
from promptops.fleet.forms import FleetFilterForm
from promptops.fleet.models import Server
from promptops.fleet.queries import rollouts, servers
from promptops.ledger.audit import Actor
from promptops.ledger.models import Release
from promptops.people.enums import Permission
from promptops.platform.pages import numbered
from promptops.texts.numbers import whole_number
from promptops.web import review
from promptops.web.access import part_of, requires
from promptops.web.lists import clean_query
from promptops.web.request import Request
from promptops.web.review import ReviewedChange


@dataclass
class ForgetServer(ReviewedChange):
    """Removing a server that is no longer connected."""

    server: Server
    form_id = "forget-form"
    template = "_review_form.html"

    @property
    def title(self) -> str:
        return f"Remove {self.server.name} from the fleet?"

    @property
    def confirm(self) -> str:
        return f"Remove {self.server.name}"

    @property
    def page(self) -> str:
        return reverse("fleet")

    @property
    def affected(self) -> str:
        return "The server itself is not changed. If it connects again, it appears again. Roll-outs keep its answers."

    def details(self) -> dict[str, Any]:
        return {"danger": True, "action": reverse("server_forget", args=[self.server.pk]), "values": []}

    def apply(self, *, by: Actor, note: str) -> None:
        actions.forget(self.server, by=by, note=note)

    def result(self) -> str:
        return f"{self.server.name} is removed from the fleet."


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """Show every server and process, by name."""
    if (address := clean_query(request)) is not None:
        return redirect(address)
    form, shown = FleetFilterForm(request.GET), servers.picture()
    context = {
        "form": form,
        "picture": shown,
        "losses": now.losses(),
        "window": numbered(form.matching(shown.rows), whole_number(request.GET.get("page"))),
    }
    return render(request, "fleet/index.html", context)


@requires(Permission.READ)
def detail(request: Request, pk: int) -> HttpResponse:
    """Show one server with its newest acknowledgements."""
    row = next((row for row in servers.picture().rows if row.server.pk == pk), None)
    if row is None:
        raise Http404
    context = {"row": row, "server": row.server, "acknowledgements": servers.acknowledgements(row.server)}
    return render(request, "fleet/server.html", context)


@requires(Permission.ADMINISTER)
@require_POST
def forget(request: Request, pk: int) -> HttpResponse:
    """Remove a server that is no longer connected, after the review panel."""
    return review.run(request, ForgetServer(get_object_or_404(Server, pk=pk)))


@requires(Permission.READ)
@part_of("fleet")
def count(request: Request) -> HttpResponse:
    """Return the part of the top bar that says how many servers run what is live."""
    return render(request, "fleet/_count.html", {"fleet": now.counts()})


@requires(Permission.READ)
@part_of("overview")
def notices(request: Request) -> HttpResponse:
    """Return the notices about servers that need a person."""
    context = {"fleet_troubles": servers.picture().troubles, "losses": now.losses()}
    return render(request, "fleet/_notices.html", context)


@requires(Permission.READ)
@part_of("revision", "revision")
def rollout(request: Request, revision: int) -> HttpResponse:
    """Return the roll-out of a release: a card for its page or, with `banner`, the line for the page after it."""
    try:
        shown = rollouts.rollout(revision)
    except Release.DoesNotExist:
        raise Http404 from None
    template = "fleet/_banner.html" if "banner" in request.GET else "fleet/_rollout.html"
    return render(request, template, {"rollout": shown})
