"""A receiver of webhooks on loopback."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver(ThreadingHTTPServer):
    """A receiver that keeps what it gets, and answers with `status`, `seconds` later."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        self.seconds = 0.0

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler) -> None:
                body = handler.rfile.read(int(handler.headers["Content-Length"]))
                self.got.append(({name.lower(): value for name, value in handler.headers.items()}, body))
                time.sleep(self.seconds)
                handler.send_response(self.status)
                handler.end_headers()

            def log_message(handler, *args: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/hook"
        threading.Thread(target=self.serve_forever, daemon=True).start()


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Yield a receiver, and close it afterwards."""
    server = Receiver()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
