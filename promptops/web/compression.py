"""Compression of pages where it is safe (decision 29). Static files are compressed in `web.static_files`.

An attacker who can put text into a page, and sees how long the encrypted answer is, can guess other text of that page
(BREACH). So an answer is compressed only if nothing in it can come from the request.
"""

import gzip
import io
import re
import secrets
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

LEVEL = 1
"""60 KB take 0.8 ms and become 15% of their size. Level 6 takes twice as long for 13%."""
LEAST_BYTES = 1000
MOST_PADDING = 100
"""Random bytes that hide the exact length of an answer."""


def accepts_gzip(request: HttpRequest) -> bool:
    """Return whether the client names gzip, and does not refuse it with a quality of 0."""
    for coding in request.headers.get("Accept-Encoding", "").lower().split(","):
        name, *parameters = (part.strip() for part in coding.split(";"))
        if name == "gzip":
            return not any(re.fullmatch(r"q\s*=\s*0(\.0*)?", parameter) for parameter in parameters)
    return False


def compressed(content: bytes, *, level: int, padding: int = 0) -> bytes:
    """Return the content with gzip. `padding` random letters are the file name that gzip may carry."""
    buffer = io.BytesIO()
    name = secrets.token_hex(padding)[:padding]
    with gzip.GzipFile(filename=name, mode="wb", compresslevel=level, fileobj=buffer, mtime=0) as file:
        file.write(content)
    return buffer.getvalue()


def may_be_compressed(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Return whether the answer is a page or a part of one that a person has to sign in for, as its address names it.

    Pages that are open to everybody have one-time links and passwords beside typed text. An answer to a form may show a
    new link. Exports are files.
    """
    view = request.resolver_match.func if request.resolver_match else None
    return (
        request.method in ("GET", "HEAD")
        and not request.META.get("QUERY_STRING")
        and getattr(view, "permission", None) is not None
        and isinstance(response, HttpResponse)
        and response.status_code == 200
        and response.get("Content-Type", "").startswith("text/html")
        and not response.has_header("Content-Encoding")
    )


def compression(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Compress pages. Runs in the request's thread, not in the event loop."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if not may_be_compressed(request, response):
            return response
        assert isinstance(response, HttpResponse)
        patch_vary_headers(response, ["Accept-Encoding"])
        if len(response.content) >= LEAST_BYTES and accepts_gzip(request):
            padding = secrets.randbelow(MOST_PADDING + 1)
            response.content = compressed(response.content, level=LEVEL, padding=padding)
            response["Content-Encoding"] = "gzip"
            response["Content-Length"] = str(len(response.content))
        return response

    return middleware
