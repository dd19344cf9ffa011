"""WebSockets that keep only what they need: hundreds of pages and a thousand servers may be connected all day."""

from collections.abc import Callable
from typing import Any

from autobahn.websocket.protocol import PreparedMessage
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol

KEPT_HEADERS = {b"x-forwarded-for"}
"""Headers that are read after the handshake: the address of the person, for the audit."""
STANDARD_CODES = {1012, 1013}
"""Close codes that Autobahn refuses to send, although they are registered: the service restarts; try again later."""


class LeanProtocol(WebSocketProtocol):
    """A socket that forgets the handshake. A browser's headers take about 4 KiB, in three forms."""

    uncount: Callable[[], object] | None = None
    """Stops counting the connection for its address: all servers of a fleet may come from one."""

    def onOpen(self) -> None:
        super().onOpen()
        self.clean_headers[:] = [(name, value) for name, value in self.clean_headers if name in KEPT_HEADERS]
        self.request.headers.clear()  # the same as `http_headers`
        self.http_request_data = b""

    def handle_reply(self, message: dict[str, Any]) -> None:
        """Do what the application says.

        Of `fleet.socket`: `is_machine` marks a socket whose token was verified, `is_shared` a text for many sockets.
        """
        if message.get("is_machine") and self.uncount is not None:
            self.uncount()
        if message.get("is_shared") and self.state == self.STATE_OPEN:
            self.sendPreparedMessage(self.factory.prepared(message["text"]))
            return
        super().handle_reply(message)

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """Write to the connection. Autobahn would also format colored words for a line of its log that nobody reads."""
        if sync or chopsize or self.send_queue:
            super().sendData(data, sync, chopsize)
        else:
            self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        """Read what arrived, without such a line of the log."""
        self._dataReceived(data)

    def serverClose(self, code: int | None = None) -> None:
        if code in STANDARD_CODES:
            self.sendCloseFrame(code=code, isReply=False)
        else:
            super().serverClose(code=code)


class LeanFactory(WebSocketFactory):
    """Daphne's factory of sockets."""

    protocol = LeanProtocol
    _newest: tuple[str, PreparedMessage] | None = None

    def prepared(self, text: str) -> PreparedMessage:
        """Return the frame of a text that many sockets get one after the other. It is made once."""
        if self._newest is None or self._newest[0] is not text:
            self._newest = text, self.prepareMessage(text.encode())
        return self._newest[1]
