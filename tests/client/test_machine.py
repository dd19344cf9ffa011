"""Clients, releases, kills, partitions, restores; hints that are lost, doubled and reordered; processes that lag.

The laws: a client never acknowledges content that one of its later runs does not use, in this life or, with its cache
file, in the next one. Within two heartbeats after a partition ends, every client runs the newest content.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from promptops.client import LiveEnhancer
from promptops.client.contents import Content, Contents
from promptops.client.follower import Follower
from tests.client.rooms import LINK_SECONDS, MemoryWire, Network, Room, sha_of
from tests.client.virtual import VirtualLoop

CLIENTS = 3
HEARTBEAT = 10.0
LAG_SECONDS = 5.0
"""The longest time for which a process of the control room serves what was live before. A restart takes longer."""

clients = st.integers(0, CLIENTS - 1)
delays = st.lists(st.sampled_from([0.01, 0.3, 2.0, 7.0]), max_size=3)


class LaggingWire(MemoryWire):
    """A wire whose fetches reach a process that lags behind, every other time."""

    chance: Any

    async def live(self, **further: Any) -> bytes | None:
        """Return the document of now, or while a process lags perhaps the one before."""
        body = await super().live(**further)
        older = self.room.older  # type: ignore[attr-defined]
        return older if older is not None and self.chance() < 0.5 else body


class Server:
    """One streaming server. `acknowledged` is the place of the newest acknowledged content in the history."""

    def __init__(self, machine: Fleet, number: int) -> None:
        self.machine, self.number = machine, number
        self.network = Network()
        self.acknowledged = -1
        self.live: LiveEnhancer | None = None

    @property
    def place(self) -> int:
        """Return the place of the content that a run uses now."""
        assert self.live is not None
        sha256 = self.live.state.sha256
        return self.machine.history.index(sha256) if sha256 else -1

    def sending(self, message: dict[str, Any]) -> None:
        """Note what the server claims to run, at the moment when it says so."""
        if not message.get("sha256"):
            return
        if message["sha256"] != self.live.state.sha256:
            self.machine.broken.append(f"{message} does not name what runs")
        if message["type"] == "applied":
            self.acknowledged = max(self.acknowledged, self.machine.history.index(message["sha256"]))

    def check(self) -> None:
        """Note a content that is older than an acknowledged one."""
        if self.live is not None and self.place < self.acknowledged:
            self.machine.broken.append(f"server {self.number} runs {self.place} and acknowledged {self.acknowledged}")

    def start(self) -> None:
        """Start the server, with its cache file."""
        machine = self.machine
        self.live = LiveEnhancer(
            "http://127.0.0.1:9",
            "po_x",
            server=f"gpu-{self.number}",
            cache=machine.folder / f"{self.number}.cache",
            wire=self.wire,
            clock=machine.loop.clock(machine.chance),
            on_change=lambda _: self.check(),
            start_timeout=0.0,
        )
        machine.run(self.live.start())
        self.check()

    def wire(self) -> LaggingWire:
        """Return a wire to the room."""
        wire = LaggingWire(self.machine.room, self.network, self.sending)
        wire.chance = self.machine.chance
        return wire

    def kill(self) -> None:
        """End the server at once: nothing is sent, nothing closed in order."""
        assert self.live is not None
        assert self.live._following is not None
        for task in self.live._following._tasks:
            task.cancel()
        self.live = None


class Fleet(RuleBasedStateMachine):
    """A control room with three servers, in false time."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.folder = Path(tempfile.mkdtemp())
        self.broken: list[str] = []
        self.history: list[str] = []
        self.share, self.epochs = 0.5, 1
        self.room = self.run(self._room())
        self.history.append(sha_of(self.room.body))
        self.servers = [Server(self, number) for number in range(CLIENTS)]
        for server in self.servers:
            server.start()

    async def _room(self) -> Room:
        room = Room()
        room.older = None  # type: ignore[attr-defined]
        return room

    def run(self, work: Any) -> Any:
        """Run to the end of a coroutine."""
        return self.loop.run_until_complete(work)

    def chance(self) -> float:
        """Return a number from 0 to 1 that differs from call to call."""
        self.share = (self.share * 997 + 0.137) % 1
        return self.share

    def teardown(self) -> None:
        """End everything."""
        for server in self.servers:
            if server.live is not None:
                server.kill()
        for _ in range(5):
            self.run(asyncio.sleep(0))
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.run(asyncio.sleep(0))
        self.loop.close()
        shutil.rmtree(self.folder)

    async def _change(self, change: Any, lags: float) -> None:
        before = self.room.body
        change()
        self.history.append(sha_of(self.room.body))
        if lags:
            self.room.older = before  # type: ignore[attr-defined]
            asyncio.get_running_loop().call_later(lags, setattr, self.room, "older", None)

    @rule(lags=st.sampled_from([0.0, 0.0, 0.5, LAG_SECONDS]))
    def release(self, lags: float) -> None:
        self.run(self._change(self.room.release, lags))

    @rule(revision=st.integers(1, 30), lags=st.sampled_from([0.0, 0.5, LAG_SECONDS]))
    def restore(self, revision: int, lags: float) -> None:
        self.epochs += 1
        self.run(self._change(lambda: self.room.restore(f"e{self.epochs}", revision), lags))

    @rule(seconds=st.sampled_from([0.0, 0.005, 0.02, 0.5, 3.0, 11.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @rule(number=clients, cut=st.booleans())
    def partition(self, number: int, cut: bool) -> None:
        self.servers[number].network.is_cut = cut

    @rule(number=clients, opens=st.booleans(), waits=st.booleans(), pushes=st.booleans())
    def proxy(self, number: int, opens: bool, waits: bool, pushes: bool) -> None:
        network = self.servers[number].network
        network.opens_sockets, network.waits, network.pushes = opens, waits, pushes
        if not opens:
            self.run(self._drop(number))

    @rule(number=clients, fate=delays, fetch=st.sampled_from([0.001, 0.01, 1.0, 4.0]))
    def weather(self, number: int, fate: list[float], fetch: float) -> None:
        network = self.servers[number].network
        network.fate, network.fetch_delay = (lambda: fate), (lambda: fetch)

    @rule(number=clients)
    def drop_sockets(self, number: int) -> None:
        self.run(self._drop(number))

    async def _drop(self, number: int) -> None:
        for socket in list(self.room.sockets):
            if socket.network is self.servers[number].network:
                socket.drop()

    @precondition(lambda self: any(server.live for server in self.servers))
    @rule(number=clients)
    def kill(self, number: int) -> None:
        if self.servers[number].live is not None:
            self.servers[number].kill()
            self.run(asyncio.sleep(0))

    @rule(number=clients)
    def restart(self, number: int) -> None:
        if self.servers[number].live is None:
            self.run(asyncio.sleep(LAG_SECONDS + 1))
            self.servers[number].start()

    @rule()
    def partitions_end(self) -> None:
        for server in self.servers:
            network = server.network
            network.is_cut, network.opens_sockets, network.waits = False, True, True
            network.fate, network.fetch_delay = (lambda: [LINK_SECONDS]), (lambda: LINK_SECONDS)
        self.run(asyncio.sleep(2 * HEARTBEAT))
        for server in self.servers:
            if server.live is not None:
                assert server.place == len(self.history) - 1, (server.number, server.live.state)
                assert server.live.state.state == "ready"

    @invariant()
    def no_acknowledged_content_is_left(self) -> None:
        for server in self.servers:
            server.check()
        assert self.broken == []


def machine_test(examples: int, steps: int) -> Any:
    """Return the machine as a test of this length."""
    case = type("Machine", (Fleet,), {}).TestCase  # type: ignore[attr-defined]
    case.settings = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
    )
    return case


TestFleet = machine_test(12, 25)


@pytest.mark.proof
class TestFleetForLong(machine_test(400, 60)):
    """The same machine, for minutes."""


# The machine finds a client that breaks a rule


async def _acknowledging_first(self: Follower, body: bytes, asked_after: int, send: Any) -> bool:
    """Acknowledge a document before it is swapped in."""
    document = json.loads(body)
    if send is not None and document["sha256"] != self.contents.current.sha256:
        await send({"type": "applied", **{name: document[name] for name in ("revision", "epoch", "sha256")}})
    return await taking(self, body, asked_after, send)


def _taking_lower_revisions(self: Contents, content: Content, asked_after: int) -> None:
    """Refuse no document for its revision."""
    if content.head[0] != self.current.head[0]:
        checking(self, content, asked_after)


taking, checking = Follower._take, Contents._check_age


@pytest.mark.parametrize(
    ("owner", "name", "broken"),
    [
        (Follower, "_take", _acknowledging_first),
        # It is rare that an older document arrives late: 5 s and more until one does.
        pytest.param(Contents, "_check_age", _taking_lower_revisions, marks=pytest.mark.proof),
    ],
)
def test_a_client_that_breaks_a_rule_is_found(owner: type, name: str, broken: Callable[..., Any], monkeypatch) -> None:
    monkeypatch.setattr(owner, name, broken)
    case = type("Broken", (Fleet,), {})
    limits = settings(
        max_examples=300,
        stateful_step_count=25,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(seed(3)(case), settings=limits)
