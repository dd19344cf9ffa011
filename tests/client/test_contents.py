"""Starting without the control room: cache and bootstrap files, texts in code, the safety model, forks and loops."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import threading

import pytest

from promptops.client import LiveEnhancer
from promptops.client.cache import UnreadableFile, read_document, write_document
from promptops.client.filters import Filters, can_judge
from promptops.engine.safety.guard import SHIPPED, SafetyPolicy, VerdictDecision, read_manifest
from promptops.engine.snapshot import ProviderSpec, SafetySpec
from tests.client.rooms import MemoryWire, Network, Room, body_of, snapshot
from tests.client.virtual import virtually

URL = "http://127.0.0.1:9"
SHIPPED_SPEC = read_manifest(SHIPPED / "current.json")


def offline(**further) -> LiveEnhancer:
    return LiveEnhancer(URL, "po_x", server="gpu-7", offline=True, **further)


def safety(sha256: str = SHIPPED_SPEC.sha256 or "", **further) -> SafetySpec:
    policy = SafetyPolicy(SHIPPED_SPEC.thresholds)
    values = {"mode": "enforce", "policy": policy, "model_number": 1, "model_sha256": sha256}
    return SafetySpec(**(values | {"model_labels": SHIPPED_SPEC.labels} | further))


def test_the_cache_file_is_whole_private_and_checked(tmp_path):
    path = tmp_path / "deep" / "live.cache"
    write_document(path, b'{"a": 1}')
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_document(path) == b'{"a": 1}'
    assert [each.name for each in path.parent.iterdir()] == ["live.cache"]
    data = path.read_bytes()
    for broken in (data[:-1], data.replace(b'"a"', b'"b"'), data[:40], data.split(b"\n")[0]):
        path.write_bytes(broken)
        with pytest.raises(UnreadableFile):
            read_document(path)
    with pytest.raises(UnreadableFile):
        read_document(tmp_path / "missing")


@pytest.mark.parametrize(
    ("cached", "shipped", "texts", "expected"),
    [
        (None, None, {}, ("code", 0)),
        (None, None, {"enhance": "Polish."}, ("code", 0)),
        (None, ("e1", 5), {"enhance": "Polish."}, ("bootstrap", 5)),
        (("e1", 7), ("e1", 5), {}, ("cache", 7)),
        (("e1", 5), ("e1", 7), {}, ("bootstrap", 7)),
        (("e1", 5), ("e1", 5), {}, ("cache", 5)),
        (("e2", 3), ("e1", 7), {}, ("cache", 3)),
    ],
)
async def test_the_newest_content_at_hand_is_used(tmp_path, cached, shipped, texts, expected):
    if cached:
        write_document(tmp_path / "cache", body_of(snapshot(cached[1], cached[0])))
    if shipped:
        (tmp_path / "bootstrap.json").write_bytes(body_of(snapshot(shipped[1], shipped[0])))
    bootstrap = tmp_path / "bootstrap.json" if shipped else None
    async with offline(cache=tmp_path / "cache", bootstrap=bootstrap, texts=texts) as live:
        assert (live.state.source, live.state.revision) == expected


async def test_a_damaged_cache_file_falls_back_to_the_bootstrap_file(tmp_path):
    (tmp_path / "cache").write_bytes(b"\x00\xff")
    (tmp_path / "bootstrap.json").write_bytes(body_of(snapshot(5)))
    async with offline(cache=tmp_path / "cache", bootstrap=tmp_path / "bootstrap.json") as live:
        assert (live.state.source, live.state.revision) == ("bootstrap", 5)


async def test_a_text_for_an_unknown_operation_is_refused():
    with pytest.raises(ValueError, match="'enhanec'"):
        await offline(texts={"enhanec": "Polish."}).start()


@virtually
async def test_a_restarted_server_runs_what_it_acknowledged(tmp_path):
    room, network, clock = Room(), Network(), asyncio.get_running_loop().clock()
    values = {"server": "gpu-7", "cache": tmp_path / "cache", "clock": clock}
    async with LiveEnhancer(URL, "po_x", wire=lambda: MemoryWire(room, network), **values):
        room.release()
        await asyncio.sleep(1)
    assert room.messages("applied")[-1]["revision"] == 2
    network.is_cut = True
    async with LiveEnhancer(URL, "po_x", wire=lambda: MemoryWire(room, network), **values) as live:
        assert (live.state.source, live.state.revision, live.state.state) == ("cache", 2, "stale")


async def test_a_cache_file_that_cannot_be_written_does_not_stop_the_swap(tmp_path):
    (tmp_path / "file").write_text("no folder")
    room = Room()
    wire = MemoryWire(room, Network())
    live = LiveEnhancer(URL, "po_x", server="gpu-7", cache=tmp_path / "file" / "cache", wire=lambda: wire)
    async with live:
        assert live.state.revision == 1


# Keys


@pytest.mark.parametrize(
    ("provider", "entries", "is_sent"),
    [
        ({"kind": "groq", "base_url": "https://api.groq.com/openai/v1"}, (), True),
        ({"kind": "groq", "base_url": "https://evil.example/v1"}, (), False),
        ({"kind": "openai", "base_url": "https://evil.example/v1", "key_env": "AWS_SECRET_ACCESS_KEY"}, (), False),
        ({"kind": "openai", "base_url": "https://llm.example/v1", "key_env": "FARM"}, ("FARM=llm.example",), True),
        ({"kind": "openai", "base_url": "https://evil.example/v1", "key_env": "FARM"}, ("FARM=llm.example",), False),
    ],
)
async def test_the_control_room_cannot_send_this_servers_variables_anywhere(tmp_path, provider, entries, is_sent):
    spec = ProviderSpec(1, "p", model="m", timeout_ms=None, **provider)
    (tmp_path / "b.json").write_bytes(body_of(snapshot(providers=(spec,))))
    async with offline(bootstrap=tmp_path / "b.json", key_variables=entries) as live:
        [read] = live.snapshot.providers
        assert (read.key_problem is None) is is_sent


# The safety model


@pytest.mark.skipif(not can_judge(), reason="the safety extra is not installed")
async def test_the_model_that_ships_judges_without_the_control_room(tmp_path):
    (tmp_path / "b.json").write_bytes(body_of(snapshot(safety=safety())))
    async with offline(bootstrap=tmp_path / "b.json") as live:
        guard = live.snapshot.safety.guard
        assert guard.check("explicit pornographic sex scene with naked people").decision is VerdictDecision.BLOCK
        assert guard.check("a fox runs through fresh snow").decision is VerdictDecision.ALLOW


@pytest.mark.skipif(not can_judge(), reason="the safety extra is not installed")
async def test_another_model_is_fetched_checked_and_kept(tmp_path):
    data = (SHIPPED / "model-2.ftz").read_bytes() + b"\0"  # another file, which fastText reads all the same
    sha256 = hashlib.sha256(data).hexdigest()
    room, network = Room(), Network()
    room.put(snapshot(2, safety=safety(sha256, model_number=4)))
    room.models[4] = data
    values = {"server": "gpu-7", "cache": tmp_path / "cache", "wire": lambda: MemoryWire(room, network)}
    async with LiveEnhancer(URL, "po_x", **values) as live:
        check = live.snapshot.safety.guard.check
        assert check("a fox runs through fresh snow").decision is VerdictDecision.ALLOW
    [kept] = (tmp_path / "cache.models").iterdir()
    assert (kept.name, kept.read_bytes()) == (f"{sha256}.ftz", data)
    network.is_cut = True
    async with LiveEnhancer(URL, "po_x", start_timeout=0.1, **values) as live:
        check = live.snapshot.safety.guard.check
        assert check("a fox runs through fresh snow").decision is VerdictDecision.ALLOW


@pytest.mark.skipif(not can_judge(), reason="the safety extra is not installed")
@pytest.mark.parametrize("served", [None, b"another file"])
@virtually
async def test_without_its_model_no_text_is_called_harmless(served):
    room = Room()
    room.put(snapshot(2, safety=safety("0" * 64, model_number=4)))
    if served is not None:
        room.models[4] = served
    wire = MemoryWire(room, Network())
    clock = asyncio.get_running_loop().clock()
    async with LiveEnhancer(URL, "po_x", server="gpu-7", wire=lambda: wire, clock=clock) as live:
        assert live.state.revision == 2
        verdict = live.snapshot.safety.guard.check("a fox runs through fresh snow")
        assert verdict.decision is VerdictDecision.UNAVAILABLE
        await asyncio.sleep(1)
        assert not live._following.follower._registration()["filtered"]


def test_without_the_safety_extra_every_text_cannot_be_judged(monkeypatch):
    monkeypatch.setattr("promptops.client.filters.can_judge", lambda: False)
    monkeypatch.setitem(__import__("sys").modules, "fasttext", None)
    filters = Filters(None)
    spec = filters.guarded(safety())
    verdict = spec.guard.check("a fox runs through fresh snow")
    assert verdict.decision is VerdictDecision.UNAVAILABLE
    assert spec.stops(verdict)
    assert not filters.guarded(safety(blocks_when_down=False)).stops(verdict)
    assert not filters.is_filtered(spec)
    assert not filters.lacks_file(spec)


# Loops, threads and forks


async def test_one_loop_follows_and_another_may_run(tmp_path):
    (tmp_path / "b.json").write_bytes(body_of(snapshot(5)))
    room = Room()
    wires = []

    def wire():
        wires.append(MemoryWire(room, Network()))
        return wires[-1]

    live = LiveEnhancer(URL, "po_x", server="gpu-7", bootstrap=tmp_path / "b.json", wire=wire)
    async with live:
        await live.start()  # again, which does nothing
        errors = []

        def other_thread() -> None:
            try:
                asyncio.run(live.start())
            except RuntimeError as error:
                errors.append(str(error))

        thread = threading.Thread(target=other_thread)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert len(wires) == 1
        assert "another event loop" in errors[0]
    assert wires[0].is_closed
    assert live.state.state == "offline"


def test_a_new_loop_may_follow_after_the_first_one_is_gone():
    rooms = []

    async def follow() -> str:
        rooms.append(Room())
        await live.start()
        return live.state.state

    live = LiveEnhancer(URL, "po_x", server="gpu-7", wire=lambda: MemoryWire(rooms[-1], Network()))
    assert asyncio.run(follow()) == "ready"
    assert asyncio.run(follow()) == "ready"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_fork_keeps_the_content_and_none_of_the_connections():
    room = Room()
    wire = MemoryWire(room, Network())
    live = LiveEnhancer(URL, "po_x", server="gpu-7", wire=lambda: wire)
    async with live:
        live._reports.add({"operation": "enhance"})
        instance = live._following.introduction["instance"]
        reads, writes = os.pipe()
        child = os.fork()
        if not child:
            is_right = (
                live.state.state == "offline"
                and live.state.revision == 1
                and live._following is None
                and live._reports.runs_a_minute() == 0
                and not wire.is_closed
            )
            os.write(writes, b"1" if is_right else b"0")
            os._exit(0)
        await asyncio.to_thread(os.waitpid, child, 0)
        assert os.read(reads, 1) == b"1"
        os.close(reads)
        os.close(writes)
        assert live.state.state == "ready"
        assert live._following.introduction["instance"] == instance
