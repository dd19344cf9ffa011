"""Error pages, and `/healthz`.

Django renders most error pages in a thread that must not use the database (promptops.web.workers). So they are rendered
without the request, whose context would look up who is signed in.
"""

import sys
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost, RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from promptops.platform import outages
from promptops.web.access import public
from promptops.web.sub_path import ADVICE, is_below_a_path


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Return the page for a form without its token, or from another address than the server's own.

    `reason` is Django's and names the address. The page says which setting makes the two addresses the same.
    """
    sent_from, served_at = _foreign_origin(request, reason), ""
    with suppress(DisallowedHost):
        served_at = f"{request.scheme}://{request.get_host()}"
    context = {"sent_from": sent_from[:200], "served_at": served_at[:200]}
    return render(request, "403_csrf.html", context, status=403)


def _foreign_origin(request: HttpRequest, reason: str) -> str:
    """Return the origin that the form was refused for, or "" if it was refused for another reason."""
    if reason.startswith("Origin checking failed"):
        return request.META.get("HTTP_ORIGIN", "")
    if reason.startswith("Referer checking failed") and (referer := request.META.get("HTTP_REFERER")):
        with suppress(ValueError):
            page = urlsplit(referer)
            return f"{page.scheme}://{page.netloc}"
    return ""


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return 400, or 413 for a form with more text than the server accepts."""
    if isinstance(exception, RequestDataTooBig):
        return _page("413.html", 413, mebibytes=settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 2**20)
    return _page("400.html", 400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return 403 with the sentence that says whose roles allow it."""
    if request.headers.get("HX-Request"):  # the page shows the sentence beside the text that it keeps
        reason = f"Your role does not allow this. {exception} Your text is kept in this tab."
        return HttpResponse(reason, content_type="text/plain; charset=utf-8", status=403)
    return _page("403.html", 403, reason=str(exception))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return 404. The page does not repeat the address, which may hold a one-time token.

    Behind a proxy, it says what to do if the proxy serves PromptOps below a path.
    """
    if settings.BEHIND_PROXY and is_below_a_path(request.path_info):
        return _page("404.html", 404, advice=ADVICE)
    return _page("404.html", 404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Return 500, or 503 with a sentence while the database is unavailable. Neither page reads the database."""
    reason = outages.sentence(sys.exc_info()[1])
    if reason is None:
        return _page("500.html", 500)
    if request.headers.get("HX-Request"):
        response = HttpResponse(reason, content_type="text/plain; charset=utf-8", status=503)
    else:
        response = _page("503.html", 503, reason=reason)
    response["Retry-After"] = outages.RETRY_SECONDS
    response["Cache-Control"] = "no-store"
    return response


def _page(template: str, status: int, **context: Any) -> HttpResponse:
    return HttpResponse(render_to_string(template, context), status=status)


@public
def health(request: HttpRequest) -> HttpResponse:
    """Return 200 while the process answers and its database can be read."""
    from promptops.live import polling

    heads: dict[str, Any] = polling.heads()
    return JsonResponse({"status": "ok", "revision": heads["revision"]})
