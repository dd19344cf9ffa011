"""A language-model endpoint on loopback that answers as a test tells it to."""

import json
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Upstream:
    """Streams `texts` as an OpenAI-compatible server does, and lists `models`; or answers `status` with `message`.

    While `held`, an answer stops after its first text, or before a list, and sets `holding`. If the asker closes the
    connection then, `hung_up` is set.
    """

    def __init__(self) -> None:
        self.texts = ["A red fox ", "runs through ", "fresh snow."]
        self.status = 200
        self.message = ""
        self.models = ["fox-large", "fox-small"]
        self.keys: list[str | None] = []
        self.asked: list[dict[str, Any]] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.holding, self.hung_up = threading.Event(), threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def hold(self) -> None:
        """From now on stop answers, until `release()`."""
        self.go_on.clear()

    def release(self) -> None:
        self.go_on.set()

    def close(self) -> None:
        self.release()
        self.server.shutdown()
        self.server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                upstream.keys.append(self.headers["Authorization"])
                if not upstream.go_on.is_set():
                    try:
                        self._wait()
                    except ConnectionError:
                        return
                listed = {"data": [{"id": name} for name in upstream.models]}
                self._send(listed if upstream.status == 200 else {"error": {"message": upstream.message}})

            def do_POST(self) -> None:
                upstream.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                try:
                    self._answer()
                except ConnectionError:
                    return  # the asker hung up, as it does when a run is canceled

            def _answer(self) -> None:
                if upstream.status != 200:
                    self._send({"error": {"message": upstream.message}})
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                for text in upstream.texts:
                    self._event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})
                    if not upstream.go_on.is_set():
                        self._wait()
                self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
                self.wfile.write(b"data: [DONE]\n\n")

            def _wait(self) -> None:
                """Wait until the answer may go on. Raises ConnectionError if the asker hangs up."""
                upstream.holding.set()
                while not upstream.go_on.wait(0.05):
                    readable, _, _ = select.select([self.connection], [], [], 0)
                    if readable and not self.connection.recv(1, socket.MSG_PEEK):
                        upstream.hung_up.set()
                        raise ConnectionError

            def _send(self, answer: dict[str, Any]) -> None:
                body = json.dumps(answer).encode()
                self.send_response(upstream.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _event(self, data: dict[str, Any]) -> None:
                self.wfile.write(b"data: %s\n\n" % json.dumps(data).encode())
                self.wfile.flush()

            def log_message(self, *args: object) -> None:
                """Quiet."""

        return Handler
