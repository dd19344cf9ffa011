"""HTTP connections with bounds: the size of a request's body, the time for a whole request, and their number.

Daphne reads a whole request before the application hears of it, so these bounds have to be here.
"""

from functools import cache, partial
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

from daphne.http_protocol import HTTPFactory, WebRequest
from django.conf import settings
from django.template.loader import render_to_string
from django.urls import Resolver404, resolve
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from promptops.api.door import is_for_machines
from promptops.api.problems import MEDIA_TYPE, Problem
from promptops.management.commands._connections import Connections, most_connections
from promptops.platform.addresses import address_of, client_network

SLOWEST_UPLOAD = 32 * 1024
"""Bytes a second: a body gets one more second for each 32 KiB."""
LINGER_SECONDS = 5
"""How long a refused body is still read and dropped: a browser shows the answer only if it can keep sending."""
MULTIPART_OVERHEAD = 64 * 1024
"""Bytes for the boundaries and headers of a form's parts, which Django does not count as data."""
REASONS = {
    "too-large": "The body is larger than the server takes, which is 1 MiB. Send less.",
    "rate-limited": "Too many connections from your address are open. Close some, and try again in 10 seconds.",
}
"""The sentences for machines, by the name of their problem."""


class BodyTooLong(Exception):
    """A request body is longer than its page allows."""


def body_limit(path: bytes) -> int:
    """Return the largest request body, in bytes, that the page at this path allows.

    It is that of a form (DATA_UPLOAD_MAX_MEMORY_SIZE), plus that of a file if the view takes one (`takes_file`).
    """
    most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE + MULTIPART_OVERHEAD
    name = unquote_to_bytes(path.split(b"?", 1)[0]).decode(errors="replace")
    if is_for_machines(name):  # a run of a machine need not wait for the search among all pages
        return most
    try:
        view = resolve(name).func
    except Resolver404:
        return most
    return most + getattr(view, "file_limit", 0)


class BoundedRequest(WebRequest):
    """A request that stops at the body limit of its page."""

    received = 0

    def process(self) -> object:
        transport, channel = self.transport, self.channel
        answered = super().process()
        if self.transport is None:  # which has become a WebSocket's
            channel.requests.clear()  # the channel still counts as a connection, but needs no request
            transport.protocol.uncount = partial(channel.factory.connections.assign, channel, "")
        return answered

    def handleContentChunk(self, data: bytes) -> None:
        self.received += len(data)
        if self.received > self.channel.body_limit:
            raise BodyTooLong
        super().handleContentChunk(data)


class BoundedChannel(HTTPChannel):
    """A connection with a deadline for each request. It closes if others need its place."""

    transport: Any  # mypy cannot read Twisted's interfaces
    factory: Any
    abortTimeout = LINGER_SECONDS  # after a deadline, for a client that does not even read the answer
    body_limit = 0
    _begun = False  # the first bytes of a request have arrived, but not all of it
    _refused = False

    @property
    def is_waiting(self) -> bool:
        return not self._handlingRequest

    @property
    def is_open(self) -> bool:
        return bool(self.transport.connected)

    def drop(self) -> None:
        self.transport.abortConnection()

    def connectionMade(self) -> None:
        super().connectionMade()
        connections = self.factory.connections
        # Everybody behind a proxy has its address; the client is known only from the headers.
        peer = "" if settings.BEHIND_PROXY else client_network(self.transport.getPeer().host)
        if not connections.add(self) or not connections.assign(self, peer):
            self.drop()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.connections.forget(self)
        super().connectionLost(reason)

    def resetTimeout(self) -> None:
        """Do nothing: more bytes do not extend a request's deadline."""

    def dataReceived(self, data: bytes) -> None:
        if self._refused:
            return
        if not self._begun and not self._handlingRequest:
            self._begun = True
            self.setTimeout(settings.REQUEST_SECONDS)
        super().dataReceived(data)

    def allHeadersReceived(self) -> None:
        if settings.BEHIND_PROXY and not self.factory.connections.assign(self, self._forwarded_network()):
            self._refuse(HTTPStatus.TOO_MANY_REQUESTS, _too_many_page(), "rate-limited", "Retry-After: 10\r\n")
            return
        if self.length != 0:
            self.body_limit = body_limit(self._path)
            length = self.body_limit if self.length is None else self.length  # None: in chunks
            if length > self.body_limit:
                self._refuse_body()
                return
            self.setTimeout(settings.REQUEST_SECONDS + length / SLOWEST_UPLOAD)
        super().allHeadersReceived()

    def rawDataReceived(self, data: bytes) -> None:
        if self._refused:
            return
        try:
            super().rawDataReceived(data)
        except BodyTooLong:
            self._refuse_body()

    def allContentReceived(self) -> None:
        self._begun = False
        self.setTimeout(self.factory.timeOut)  # how long the connection may be idle after the answer
        super().allContentReceived()

    def requestDone(self, request: object) -> None:
        if settings.BEHIND_PROXY:
            self.factory.connections.assign(self, "")
        super().requestDone(request)

    def timeoutConnection(self) -> None:
        if self._refused:
            self.drop()
            return
        if self._begun:
            self.transport.write(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        super().timeoutConnection()

    def _forwarded_network(self) -> str:
        forwarded = self.requests[-1].requestHeaders.getRawHeaders(b"x-forwarded-for")
        last = forwarded[-1].decode("latin-1") if forwarded else None
        return client_network(address_of(self.transport.getPeer().host, last)) if last else ""

    def _refuse_body(self) -> None:
        mebibytes = (self.body_limit - MULTIPART_OVERHEAD) // 2**20
        self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_long_page(mebibytes), "too-large")

    def _refuse(self, status: HTTPStatus, page: bytes, problem: str, more_headers: str = "") -> None:
        """Answer in place of the application, and drop what the client still sends, for at most LINGER_SECONDS.

        Machines get the problem of that name instead of the page.
        """
        media_type = "text/html; charset=utf-8"
        if is_for_machines(self._path.split(b"?", 1)[0].decode("latin-1")):
            page, media_type = Problem(status.value, problem, REASONS[problem]).body, MEDIA_TYPE
        self._refused = True
        self.length = None  # no end of a body, at which the request would go on to the application
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Length: {len(page)}\r\n"
            f"Content-Type: {media_type}\r\nCache-Control: no-store\r\nX-Frame-Options: DENY\r\n"
            f"X-Content-Type-Options: nosniff\r\nContent-Security-Policy: default-src 'self'\r\n{more_headers}\r\n"
        )
        self.transport.write(head.encode() + page)
        self.transport.loseWriteConnection()  # the answer ends here; reading goes on
        self.setTimeout(LINGER_SECONDS)


class BoundedFactory(HTTPFactory):
    """Daphne's factory of connections, with bounds."""

    protocol = BoundedChannel

    def __init__(self, server: object) -> None:
        super().__init__(server)
        self.connections = Connections(most_connections(), settings.CONNECTIONS_PER_ADDRESS)

    def buildProtocol(self, addr: object) -> BoundedChannel:
        channel = super().buildProtocol(addr)
        channel.requestFactory = BoundedRequest
        return channel


@cache
def _too_long_page(mebibytes: int) -> bytes:
    return render_to_string("413.html", {"mebibytes": mebibytes}).encode()


@cache
def _too_many_page() -> bytes:
    context = {
        "title": "Too many connections",
        "reason": "Too many connections from your address are open. Close some pages, then try again in 10 seconds.",
    }
    return render_to_string("429.html", context).encode()
