"""Middleware of our own."""

import zoneinfo
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils import timezone


def time_zone(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Show times in the reader's zone, which the page's script puts into the cookie `tz`; UTC until then."""

    def middleware(request: HttpRequest) -> HttpResponse:
        name = request.COOKIES.get("tz", "")
        try:
            zone = zoneinfo.ZoneInfo(name) if name else None
        except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
            zone = None
        with timezone.override(zone):
            return get_response(request)

    return middleware
