"""WebSockets of open pages that keep only what they need: hundreds of pages may be open all day."""

from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol

KEPT_HEADERS = {b"x-forwarded-for"}
"""Headers that are read after the handshake: the address of the person, for the audit."""


class LeanProtocol(WebSocketProtocol):
    """A socket that forgets the handshake. A browser's headers take about 4 KiB, in three forms."""

    def onOpen(self) -> None:
        super().onOpen()
        self.clean_headers[:] = [(name, value) for name, value in self.clean_headers if name in KEPT_HEADERS]
        self.request.headers.clear()  # the same as `http_headers`
        self.http_request_data = b""


class LeanFactory(WebSocketFactory):
    """Daphne's factory of sockets."""

    protocol = LeanProtocol
