"""Static files under an address that changes with their content, so that browsers keep them and never mix two versions.

The address is `/static/<digest>/<path>`. The digest covers all static files, and a module's relative imports stay below
it; a digest in each name would need a build step that rewrites the imports. Templates use `{% static %}` as usual.
"""

import hashlib
import re
from collections.abc import Iterable
from functools import cache

from django.conf import settings
from django.contrib.staticfiles.finders import BaseFinder, get_finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware

DIGESTED = re.compile(rf"{re.escape(settings.STATIC_URL)}([0-9a-f]{{16}})/")
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


class StaticFiles(WhiteNoiseMiddleware):
    """Serves static files. Browsers keep them for a year under this process's digest, else for a minute.

    During an upgrade, a page of the older version may ask for the other digest.
    """

    def __call__(self, request: HttpRequest) -> HttpResponse:
        match = DIGESTED.match(request.path_info)
        if not match:
            return super().__call__(request)
        request.path_info = settings.STATIC_URL + request.path_info[match.end() :]
        response = super().__call__(request)
        if match[1] == digest() and response.status_code < 400:
            response["Cache-Control"] = FOR_A_YEAR
        return response
