"""Pages for what went wrong."""

from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from promptops.web.access import public


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form without its token: an old page, or a form from elsewhere."""
    context = {"reason": "This page was open for too long, or you signed in again elsewhere. Reload it and try again."}
    return render(request, "403.html", context, status=403)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400, or 413 for a form with more text than the server takes."""
    if isinstance(exception, RequestDataTooBig):
        return render(request, "413.html", {"mebibytes": settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 2**20}, status=413)
    return render(request, "400.html", status=400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403 with the sentence that says whom to ask."""
    return render(request, "403.html", {"reason": str(exception)}, status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404; what was looked for is not repeated, it may hold a one-time token."""
    return render(request, "404.html", status=404)


@public
def health(request: HttpRequest) -> HttpResponse:
    """200 while the process answers and its database can be read."""
    from promptops import queries

    heads: dict[str, Any] = queries.heads()
    return JsonResponse({"status": "ok", "revision": heads["revision"]})
