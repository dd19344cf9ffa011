"""Pages for what went wrong."""

import sys
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from promptops import outages
from promptops.web.access import public


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form without its token: an old page, or a form from elsewhere."""
    context = {"reason": "This page was open for too long, or you signed in again elsewhere. Reload it and try again."}
    return render(request, "403.html", context, status=403)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400, or 413 for a form with more text than the server takes."""
    too_long = isinstance(exception, RequestDataTooBig)
    return render(request, "400.html", {"too_long": too_long}, status=413 if too_long else 400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403 with the sentence that says whom to ask."""
    return render(request, "403.html", {"reason": str(exception)}, status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404; what was looked for is not repeated, it may hold a one-time token."""
    return render(request, "404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """500, or 503 with a sentence while the database is unavailable. Neither page reads the database."""
    reason = outages.sentence(sys.exc_info()[1])
    if reason is None:
        return HttpResponse(render_to_string("500.html"), status=500)
    if request.headers.get("HX-Request"):
        response = HttpResponse(reason, content_type="text/plain; charset=utf-8", status=503)
    else:
        response = HttpResponse(render_to_string("503.html", {"reason": reason}), status=503)
    response["Retry-After"] = outages.RETRY_SECONDS
    response["Cache-Control"] = "no-store"
    return response


@public
def health(request: HttpRequest) -> HttpResponse:
    """200 while the process answers and its database can be read."""
    from promptops import queries

    heads: dict[str, Any] = queries.heads()
    return JsonResponse({"status": "ok", "revision": heads["revision"]})
