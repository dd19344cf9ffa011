"""The check of a socket's origin: only pages that this server has sent may open one."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import validate_host

Application = Callable[[Any, Any, Any], Awaitable[None]]


def same_origin(application: Application) -> Application:
    """Refuse sockets from pages of another origin, port included.

    Cookies go to every port of a host. Channels' own check compares host names only, so it would accept a page of
    another server on this machine. CSRF_TRUSTED_ORIGINS are accepted too.
    """

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        if _is_same_origin(scope["headers"]):
            await application(scope, receive, send)
        else:
            await WebsocketDenier.as_asgi()(scope, receive, send)

    return guarded


def _is_same_origin(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    # A function of its own, so that no open socket keeps this.
    named = {name.lower(): value.decode("latin-1") for name, value in headers}
    return allowed(named.get(b"origin", ""), named.get(b"host", ""))


def allowed(origin: str, host: str) -> bool:
    """Return whether a page of `origin` may open a socket to `host`; both are values of headers."""
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    try:
        page = urlsplit(origin)
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    name = f"[{name}]" if ":" in name else name
    return page.scheme in {"http", "https"} and page.netloc == host and validate_host(name, settings.ALLOWED_HOSTS)
