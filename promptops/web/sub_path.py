"""The refusal of a sub-path, such as https://example.org/promptops/: PromptOps needs a host name of its own.

Scripts, sockets and the machine interface use addresses that begin at the root. Half a page would work below a path.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from django.urls import Resolver404, resolve

Application = Callable[[Any, Any, Any], Awaitable[None]]

ADVICE = (
    "PromptOps cannot be served below a path of another site. Give it a host name of its own, such as "
    "prompts.example.org; docs/install.md shows a proxy."
)


def without_sub_path(application: Application) -> Application:
    """Return the application, which answers 404 with the advice if a proxy says that it cut a path off.

    Proxies say it in X-Forwarded-Prefix. Daphne takes a root path from the header Daphne-Root-Path, which any client
    can send, and Django would put it before each address of the page.
    """

    async def answered(scope: Any, receive: Any, send: Any) -> None:
        if not scope.get("root_path") and not _forwarded_prefix(scope["headers"]):
            await application(scope, receive, send)
            return
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 404, "headers": headers})
        await send({"type": "http.response.body", "body": f"{ADVICE}\n".encode()})

    return answered


def _forwarded_prefix(headers: list[tuple[bytes, bytes]]) -> bytes:
    return next((value.strip(b" /") for name, value in headers if name == b"x-forwarded-prefix"), b"")


def is_below_a_path(path: str) -> bool:
    """Return whether an unknown address would be known without its first part, such as /promptops/sign-in/."""
    first, slash, rest = path.lstrip("/").partition("/")
    if not first or not slash:
        return False
    try:
        resolve(path)
    except Resolver404:
        try:
            resolve(f"/{rest}")
        except Resolver404:
            return False
        return True
    return False
