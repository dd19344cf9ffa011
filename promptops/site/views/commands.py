"""The list of the command bar: the pages, settings, names and numbers that a person may open.

The actions of a page are in the page.
"""

from collections.abc import Iterator
from functools import cache

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from promptops.ledger.models import LiveConfiguration
from promptops.people.enums import Permission
from promptops.site.context import NAV
from promptops.site.finding import Found, find, words_of
from promptops.site.forms import SettingsForm
from promptops.web.access import part_of, requires
from promptops.web.request import Request

PAGES = {
    "timeline": "Timeline of releases",
    "variables": "Variables",
    "operations": "Operations",
    "release_requests": "Requests for a release",
    "prompt_files": "Prompts as files",
    "texts_import": "Import prompts",
    "prompt_sets": "Prompt sets",
    "safety_queue": "Safety: review queue",
    "safety_terms": "Safety: terms",
    "safety_thresholds": "Safety: thresholds",
    "safety_try": "Safety: try a text",
    "safety_models": "Safety: models",
    "levers": "Incident levers",
    "audit_verify": "Verify the audit",
    "people": "People and roles",
    "tokens": "Tokens",
    "alerts": "Alerts",
    "api": "API",
    "sessions": "Your sessions",
    "password": "Change your password",
    "second_step_own": "Your second step",
}
"""Pages beside those of the navigation, by the name of the URL."""

NEW = {
    "template_new": "New template",
    "variable_new": "New variable",
    "operation_new": "New operation",
    "comparison_new": "New comparison",
    "prompt_set_new": "New prompt set",
    "provider_new": "Add a provider",
    "destination_new": "New destination of alerts",
}
"""Pages that make something."""


@requires(Permission.READ)
@part_of("overview")
def commands(request: Request) -> HttpResponse:
    """Return the list as a part of the page. `?q=` is what was typed; `?recent=` are ids of entries used last.

    Pages and settings are always all there; the browser shows what fits.
    """

    def may_open(page: str) -> bool:
        permission = _permissions()[page]
        return permission is None or request.user.may(permission)

    found, more = find(words_of(request.GET.get("q", "")), request.GET.getlist("recent"), may_open)
    others = [entry for entry in (*_more_pages(), *_settings()) if may_open(entry.id.split(":")[1])]
    return render(request, "site/_command_list.html", {"commands": [*_pages(), *found, *others], "more": more})


@requires(Permission.READ)
@part_of("overview")
def keys(request: Request) -> HttpResponse:
    """Return the help about keys as a part of the page."""
    return render(request, "site/_keys.html")


def _pages() -> Iterator[Found]:
    for item in NAV:
        yield Found(f"page:{item.name}", item.label, "Page", reverse(item.name), key=item.key)


def _more_pages() -> Iterator[Found]:
    for hint, pages in (("Page", PAGES), ("Action", NEW)):
        for name, label in pages.items():
            yield Found(f"page:{name}", label, hint, reverse(name))


def _settings() -> Iterator[Found]:
    """Yield the settings of the installation, by the words of their labels, names and hints."""
    page = reverse("settings")
    for field in SettingsForm(LiveConfiguration()).visible_fields():
        words = f"{field.name.replace('_', ' ')} {field.help_text}"
        yield Found(
            f"setting:settings:{field.name}", str(field.label), "Setting", f"{page}#{field.id_for_label}", words
        )


@cache
def _permissions() -> dict[str, Permission | None]:
    """Return the permission that each page requires, by the name of its URL."""

    def patterns(resolver: URLResolver) -> Iterator[URLPattern]:
        for entry in resolver.url_patterns:
            if isinstance(entry, URLPattern):
                yield entry
            else:
                yield from patterns(entry)

    return {entry.name: getattr(entry.callback, "permission", None) for entry in patterns(get_resolver()) if entry.name}
