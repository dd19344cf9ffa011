"""PromptOps' own middleware: the reader's time zone, and the route for metrics."""

import zoneinfo
from collections.abc import Callable, Mapping

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from promptops.platform.requests import facts


def zone_of(cookies: Mapping[str, str]) -> zoneinfo.ZoneInfo | None:
    """Return the reader's time zone from the cookie `tz`, or None if it names none."""
    name = cookies.get("tz", "")
    try:
        return zoneinfo.ZoneInfo(name) if name else None
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return None


def time_zone(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Show times in the reader's zone, which the page's script puts into the cookie `tz`; UTC until then."""

    def middleware(request: HttpRequest) -> HttpResponse:
        with timezone.override(zone_of(request.COOKIES)):
            return get_response(request)

    return middleware


def route(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Name the route of the request in its facts."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.resolver_match:
            facts().route = f"/{request.resolver_match.route}"
        return response

    return middleware
