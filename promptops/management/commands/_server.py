"""Daphne with a grace time: on SIGTERM or Ctrl C it lets runs in progress end first."""

import asyncio
from typing import Any

import daphne.server
from daphne.server import Server
from django.conf import settings
from twisted.internet import defer

from promptops.management.commands._channel import BoundedFactory
from promptops.management.commands._websocket import LeanFactory
from promptops.platform import background
from promptops.platform.draining import gate
from promptops.runs.actions.recording import recorder

RECORDING_SECONDS = 5.0
"""Seconds that the recording of canceled runs may take."""


class DrainingServer(Server):
    """A server that stops accepting, waits up to GRACE_SECONDS for runs in progress, and cancels and records the rest.

    Pages stay connected until then, so that people see their runs end. Then the server ends as Daphne does.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ports: list[Any] = []

    def run(self) -> None:
        # Daphne's own `run` makes its factories by these names.
        daphne.server.HTTPFactory = BoundedFactory
        daphne.server.WebSocketFactory = LeanFactory
        super().run()

    def timeout_checker(self) -> None:
        self.http_factory.connections.forget_closed()
        super().timeout_checker()

    def listen_success(self, port: Any) -> None:
        self.ports.append(port)
        super().listen_success(port)

    @defer.inlineCallbacks
    def kill_all_applications(self) -> Any:
        for port in self.ports:
            port.stopListening()
        yield defer.Deferred.fromFuture(asyncio.ensure_future(gate.drain(settings.GRACE_SECONDS)))
        yield defer.Deferred.fromFuture(asyncio.ensure_future(gate.cut_off(RECORDING_SECONDS)))
        recorder.give_up()
        # They end here, while there are still threads in which they can use the database.
        yield defer.Deferred.fromFuture(asyncio.ensure_future(background.stop()))
        # A half-sent request has no application yet, which Daphne does not expect here.
        nothing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        nothing.set_result(None)
        for details in self.connections.values():
            details.setdefault("application_instance", nothing)
        yield super().kill_all_applications()
