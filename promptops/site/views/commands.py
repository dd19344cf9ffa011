"""The list of the command bar: the pages and actions that a person may open, and the templates that fit their words."""

from dataclasses import dataclass

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse

from promptops.people.enums import Permission
from promptops.people.models import User
from promptops.prompts.queries import templates
from promptops.site.context import NAV
from promptops.web.access import requires
from promptops.web.request import Request

MOST_TEMPLATES = 20
"""Templates in one answer. The page asks again, with the typed words, if there are more."""


@dataclass(frozen=True)
class Command:
    """An entry of the command bar."""

    label: str
    url: str
    hint: str = "Page"


@requires(Permission.READ)
def commands(request: Request) -> HttpResponse:
    """Return the list as a part of the page; with `?q=` only templates whose name or operation has all the words."""
    words = [word for word in request.GET.get("q", "").split()[:10] if word.isprintable()]
    found = list(templates.named(words)[: MOST_TEMPLATES + 1])
    listed = [
        Command(template.name, reverse("template", args=[template.name]), template.operation)
        for template in found[:MOST_TEMPLATES]
    ]
    context = {"commands": [*_pages(), *listed, *_more(request.user)], "more": len(found) > MOST_TEMPLATES}
    return render(request, "site/_command_list.html", context)


def _pages() -> list[Command]:
    pages = [Command(item.label, reverse(item.name)) for item in NAV]
    return [*pages, Command("Timeline of releases", reverse("timeline"))]


def _more(user: User) -> list[Command]:
    """Return the entries below the templates. Each is left out for a person whom its page would refuse."""
    more = [Command("Variables", reverse("variables")), Command("Operations", reverse("operations"))]
    if user.may(Permission.EDIT):
        more.append(Command("New template", reverse("template_new"), "Action"))
        more.append(Command("New prompt set", reverse("prompt_set_new"), "Action"))
    if user.may(Permission.ADMINISTER):
        more.append(Command("Add a provider", reverse("provider_new"), "Action"))
        more.append(Command("People and roles", reverse("people")))
        more.append(Command("Alerts", reverse("alerts")))
    more.append(Command("Your sessions", reverse("sessions")))
    more.append(Command("Change your password", reverse("password"), "Action"))
    return more
