"""Middleware of our own."""

import zoneinfo
from collections.abc import Callable, Mapping

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from promptops.passwords import HashesBusy


def zone_of(cookies: Mapping[str, str]) -> zoneinfo.ZoneInfo | None:
    """Return the reader's time zone by the cookie `tz`, None where it names none."""
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


class HashesBusyPage:
    """Answer 503 with a sentence where a password had no turn to be checked, whichever page it was typed into."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, HashesBusy):
            return None
        reason = "Many people are signing in at this moment. Go back and try again in 5 seconds."
        context = {"title": "The server is busy", "reason": reason}
        response = render(request, "429.html", context, status=503)
        response["Retry-After"] = "5"
        return response
