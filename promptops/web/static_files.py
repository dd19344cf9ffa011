"""Static files under an address that changes with their content, so that browsers keep them and never mix two versions.

The address is `/static/<digest>/<path>`. The digest covers all static files, and a module's relative imports stay below
it; a digest in each name would need a build step that rewrites the imports. Templates use `{% static %}` as usual.
"""

import hashlib
import re
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import BaseFinder, get_finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.utils.cache import patch_vary_headers
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

from promptops.web.compression import accepts_gzip, compressed

DIGESTED = re.compile(rf"{re.escape(settings.STATIC_URL)}([0-9a-f]{{16}})/")
COMPRESSED_KINDS = re.compile(r"text/|image/svg\+xml|application/json")
FOR_A_YEAR = "max-age=31536000, public, immutable"


def content_digest(finders: Iterable[BaseFinder]) -> str:
    """Return 16 hex digits that change with any file's path or content."""
    whole = hashlib.sha256()
    for finder in finders:
        for path, storage in sorted(finder.list([]), key=lambda entry: entry[0]):
            with storage.open(path) as file:
                whole.update(f"{path}\0{hashlib.sha256(file.read()).hexdigest()}\0".encode())
    return whole.hexdigest()[:16]


@cache
def digest() -> str:
    """Return the digest of this process's files, as they were when the first page needed it."""
    return content_digest(get_finders())


class Storage(StaticFilesStorage):
    """Adds the digest to the addresses of static files; not under DEBUG, where files change while the server runs."""

    def url(self, name: str | None) -> str:
        return super().url(name if settings.DEBUG else f"{digest()}/{name}")


@lru_cache(maxsize=256)
def gzipped(path: str, etag: str) -> bytes | None:
    """Return the file with gzip, or None if that saves nothing. Each file is compressed once in a process."""
    content = Path(path).read_bytes()
    shorter = compressed(content, level=9)
    return shorter if len(shorter) < len(content) else None


def compressed_answer(static_file: StaticFile, request: HttpRequest) -> HttpResponse | None:
    """Return the file with gzip, or None if it is sent as it is. Nothing in a static file is secret."""
    _, path, headers = static_file.alternatives[-1]
    if (
        request.method not in ("GET", "HEAD")
        or "Range" in request.headers
        or not accepts_gzip(request)
        or static_file.is_not_modified(request.META)
        or (content := gzipped(path, static_file.etag)) is None
    ):
        return None
    etag = f'{static_file.etag[:-1]}-gzip"'
    if request.headers.get("If-None-Match") == etag:
        answer: HttpResponse = HttpResponseNotModified()
        left_out = {"Content-Length", "Content-Type"}
    else:
        answer = HttpResponse(content if request.method == "GET" else b"")
        left_out = set()
    for name, value in headers:
        if name not in left_out:
            answer[name] = value
    answer["ETag"] = etag
    if answer.status_code == 200:
        answer["Content-Length"] = str(len(content))
        answer["Content-Encoding"] = "gzip"
    return answer


class StaticFiles(WhiteNoiseMiddleware):
    """Serves static files. Browsers keep them for a year under this process's digest, else for a minute.

    During an upgrade, a page of the older version may ask for the other digest.
    """

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> HttpResponse:
        """Return the file, compressed if that is possible."""
        kind = dict(static_file.alternatives[-1][2]).get("Content-Type", "")
        if not COMPRESSED_KINDS.match(kind):
            return WhiteNoiseMiddleware.serve(static_file, request)
        answer = compressed_answer(static_file, request) or WhiteNoiseMiddleware.serve(static_file, request)
        patch_vary_headers(answer, ["Accept-Encoding"])
        return answer

    def __call__(self, request: HttpRequest) -> HttpResponse:
        match = DIGESTED.match(request.path_info)
        if not match:
            return super().__call__(request)
        request.path_info = settings.STATIC_URL + request.path_info[match.end() :]
        response = super().__call__(request)
        if match[1] == digest() and response.status_code < 400:
            response["Cache-Control"] = FOR_A_YEAR
        return response
