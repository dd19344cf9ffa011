"""The mirror and a control room on loopback: nothing is acknowledged that a server does not use."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from promptops.client import Clock
from promptops.client.mirror import mirroring
from promptops.client.mirror.command import Options, assembled
from promptops.client.mirror.files import FileSet
from promptops.client.mirror.layouts import LAYOUTS
from promptops.client.mirror.mirroring import FileFollower, Mirror
from promptops.client.mirror.reloading import HttpReload, NoReload, NotReloaded
from promptops.engine.snapshot import Lever
from tests.client.demo_app import KEYS, LAYOUT, demo_app
from tests.client.loopback import TOKEN, ControlRoom, control_room, until
from tests.client.rooms import body_of, sha_of, snapshot
from tests.client.test_loopback import QUICK


@dataclass
class Setup:
    """A running mirror."""

    mirror: Mirror
    follower: FileFollower
    room: ControlRoom
    folder: Path

    @property
    def state(self) -> dict[str, Any]:
        return json.loads((self.folder / "follow-state.json").read_text())

    def text(self, name: str = "enhance.txt") -> str:
        return (self.folder / name).read_text()

    def last(self, *types: str) -> dict[str, Any]:
        """Return the newest report of these types; an empty one if there is none."""
        return next((each for each in reversed(self.room.received) if each["type"] in types), {})

    async def reported(self, type: str, revision: int) -> dict[str, Any]:
        """Wait until the newest verdict of the control room is this one."""

        def verdict() -> dict[str, Any]:
            return self.last("applied", "drifted", "refused")

        await until(lambda: (verdict().get("type"), verdict().get("revision")) == (type, revision))
        return verdict()


@asynccontextmanager
async def mirroring_to(folder: Path, room: ControlRoom, **further: Any) -> AsyncGenerator[Setup, None]:
    """Follow the room into a folder."""
    options = Options(
        **{
            "url": room.url,
            "token": lambda: TOKEN,
            "server": "gpu-7",
            "folder": folder,
            "layout": LAYOUTS["fastvideo"],
            "reloader": NoReload(),
            "on_drift": "report",
            "check": 0.03,
            "labels": {"zone": "a"},
            "once": False,
            "timeout": 5.0,
        }
        | further
    )
    mirror, follower = assembled(options, FileSet(folder), Clock(), QUICK)
    tasks = [asyncio.create_task(each) for each in (follower.follow(), mirror.run())]
    try:
        yield Setup(mirror, follower, room, folder)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await follower.wire.close()


@pytest.mark.parametrize("opens_sockets", [True, False])
async def test_a_release_is_in_the_files_before_it_is_acknowledged(tmp_path, opens_sockets):
    async with control_room(opens_sockets=opens_sockets) as room, mirroring_to(tmp_path, room) as setup:
        await setup.reported("applied", 1)
        registration = next(each for each in room.received if each["type"] == "register")
        assert (registration["kind"], registration["filtered"]) == ("files", False)
        assert (registration["labels"], registration["revision"]) == ({"zone": "a"}, None)
        fetches = room.fetches
        await room.release(body_of(snapshot(2)))
        report = await setup.reported("applied", 2)
        assert report["sha256"] == sha_of(room.body)
        assert setup.text() == "enhance e1 r2\n"
        assert room.fetches == fetches or not opens_sockets, "the hint brings the document"
        await until(lambda: setup.last("heartbeat").get("revision") == 2)
        await until(lambda: setup.state["revision"] == 2)
        assert (setup.state["outcome"], setup.state["state"]) == ("applied", "ready")


async def test_a_server_that_reloads_is_acknowledged_after_it_has(tmp_path):
    async with control_room() as room, demo_app(tmp_path) as app:
        more = {"layout": LAYOUT, "reloader": HttpReload(app.url, 5)}
        async with mirroring_to(tmp_path, room, **more) as setup:
            await setup.reported("applied", 1)
            await room.release(body_of(snapshot(2)))
            await setup.reported("applied", 2)
            assert app.used[KEYS[0]] == "enhance e1 r2"
            assert app.posts == [{}, {}]
            await room.release(body_of(replace(snapshot(2), revision=3)))
            await setup.reported("applied", 3)
            assert app.posts == [{}, {}], "a release without other texts reloads nothing"


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [("refuses", "refused"), ("hangs", "refused"), ("silent", "refused"), ("moves", "refused"), ("lies", "drifted")],
)
async def test_a_fault_of_the_server_is_reported_and_heals(tmp_path, fault, outcome):
    async with control_room() as room, demo_app(tmp_path) as app:
        more = {"layout": LAYOUT, "reloader": HttpReload(app.url, 0.2)}
        async with mirroring_to(tmp_path, room, **more) as setup:
            await setup.reported("applied", 1)
            app.fault = fault
            await room.release(body_of(snapshot(2)))
            report = await setup.reported(outcome, 2)
            assert report.get("sha256") != sha_of(room.body)
            assert report["why"]
            await until(lambda: setup.state["outcome"] == outcome)
            app.fault = ""
            await setup.reported("applied", 2)
    acknowledged = [each for each in room.received if each["type"] == "applied" and each["revision"] == 2]
    assert len(acknowledged) == 1


async def test_a_server_that_goes_down_after_the_reload_is_reported_and_comes_back(tmp_path):
    async with control_room() as room:
        async with demo_app(tmp_path) as app:
            more = {"layout": LAYOUT, "reloader": HttpReload(app.url, 1)}
            followed = mirroring_to(tmp_path, room, **more)
            setup = await followed.__aenter__()
            await setup.reported("applied", 1)
        await setup.reported("drifted", 1)
        async with demo_app(tmp_path, port=app.port) as app:
            app.reload()
            await setup.reported("applied", 1)
        await followed.__aexit__(None, None, None)


@pytest.mark.parametrize("change", ["By hand", "", None])
async def test_a_file_changed_by_hand_is_reported_and_kept_until_the_next_release(tmp_path, change):
    async with control_room() as room, mirroring_to(tmp_path, room) as setup:
        await setup.reported("applied", 1)
        path = tmp_path / "enhance.txt"
        path.unlink() if change is None else path.write_text(change)
        report = await setup.reported("drifted", 1)
        assert "enhance.txt" in report["why"]
        assert report["sha256"] != sha_of(room.body)
        await until(lambda: setup.last("heartbeat").get("sha256") == report["sha256"])
        assert (path.read_text() if path.exists() else None) == change
        await room.release(body_of(snapshot(2)))
        await setup.reported("applied", 2)
        assert setup.text() == "enhance e1 r2\n"


async def test_a_change_by_hand_is_still_known_after_a_restart(tmp_path):
    async with control_room() as room:
        async with mirroring_to(tmp_path, room) as setup:
            await setup.reported("applied", 1)
        (tmp_path / "enhance.txt").write_text("By hand")
        async with mirroring_to(tmp_path, room) as setup:
            await setup.reported("drifted", 1)
            assert setup.text() == "By hand"


async def test_a_change_by_hand_is_undone_at_once_where_that_is_wanted(tmp_path):
    async with control_room() as room, demo_app(tmp_path) as app:
        more = {"layout": LAYOUT, "reloader": HttpReload(app.url, 5), "on_drift": "restore"}
        async with mirroring_to(tmp_path, room, **more) as setup:
            await setup.reported("applied", 1)
            (tmp_path / f"{KEYS[0]}.md").write_text("By hand")
            app.reload()
            await until(lambda: app.used[KEYS[0]] == "enhance e1 r1")
            assert (tmp_path / f"{KEYS[0]}.md.replaced").read_text() == "By hand"
            app.used = {**app.used, KEYS[1]: "Set over HTTP"}
            await until(lambda: app.used[KEYS[1]] == "auto_extend e1 r1")


async def test_a_server_reports_its_drift_again_when_it_connects_again(tmp_path):
    async with control_room() as room, mirroring_to(tmp_path, room) as setup:
        await setup.reported("applied", 1)
        (tmp_path / "enhance.txt").write_text("By hand")
        await setup.reported("drifted", 1)
        room.received.clear()
        for socket in list(room.sockets):
            await socket.close()
        await setup.reported("drifted", 1)
        assert room.received[0]["type"] == "register"
        assert room.received[0]["sha256"] != sha_of(room.body)


async def test_files_that_cannot_be_written_are_reported_and_heal(tmp_path):
    async with control_room() as room, mirroring_to(tmp_path, room) as setup:
        await setup.reported("applied", 1)
        (tmp_path / "enhance.txt").unlink()
        (tmp_path / "enhance.txt").mkdir()
        await room.release(body_of(snapshot(2)))
        report = await setup.reported("refused", 2)
        assert "enhance.txt" in report["why"]
        assert setup.text("rewrite.txt") == "rewrite e1 r1\n"
        (tmp_path / "enhance.txt").rmdir()
        await setup.reported("applied", 2)


async def test_an_operation_that_goes_away_leaves_the_last_good_files(tmp_path):
    async with control_room() as room, mirroring_to(tmp_path, room) as setup:
        await setup.reported("applied", 1)
        later = snapshot(2)
        operations = {name: spec for name, spec in later.operations.items() if name != "rewrite"}
        templates = tuple(each for each in later.templates if each.operation != "rewrite")
        defaults = {name: number for name, number in later.defaults.items() if name != "rewrite"}
        later = replace(later, operations=operations, templates=templates, defaults=defaults)
        await room.release(body_of(later))
        report = await setup.reported("refused", 2)
        assert "rewrite" in report["why"]
        assert setup.text() == "enhance e1 r1\n"
        assert not setup.mirror.is_hopeless.is_set()
        assert setup.last("heartbeat", "register")["revision"] in (None, 1)


async def test_a_layout_that_the_installation_cannot_fill_is_hopeless(tmp_path):
    async with control_room() as room, mirroring_to(tmp_path, room, layout=LAYOUTS["dreamverse"]) as setup:
        await asyncio.wait_for(setup.mirror.is_hopeless.wait(), 5)
        assert not list(tmp_path.glob("*.md"))


async def test_a_pass_through_lever_is_never_acknowledged(tmp_path):
    async with control_room() as room, mirroring_to(tmp_path, room) as setup:
        await setup.reported("applied", 1)
        ends = datetime.now(UTC) + timedelta(minutes=5)
        await room.release(body_of(snapshot(2, levers=(Lever("pass_through", "enhance", ends),))))
        report = await setup.reported("drifted", 2)
        assert report["sha256"] != sha_of(room.body)
        assert setup.text() == "enhance e1 r2\n"
        await room.release(body_of(snapshot(3)))
        await setup.reported("applied", 3)


async def test_without_the_control_room_the_files_stay_and_say_how_old_they_are(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(mirroring, "REMINDER", 0.1)
    async with control_room() as room, mirroring_to(tmp_path, room) as setup:
        await setup.reported("applied", 1)
        before = setup.text()
    heard_at = setup.state["heard_at"]
    timing = replace(QUICK, answer=0.0)
    monkeypatch.setattr("tests.client.test_follow_mirroring.QUICK", timing)
    async with mirroring_to(tmp_path, room) as setup:
        await until(lambda: setup.state["state"] == "stale")
        await until(lambda: sum("The files stay at r1" in line for line in caplog.messages) > 1)
        assert (setup.text(), setup.state["heard_at"]) == (before, heard_at)
        assert heard_at in caplog.text
        (tmp_path / "enhance.txt").write_text("By hand")
        await until(lambda: setup.state["outcome"] == "drifted")


async def test_an_interrupted_set_is_finished_without_the_control_room(tmp_path):
    async with control_room() as room, mirroring_to(tmp_path, room) as setup:
        await setup.reported("applied", 1)
    (tmp_path / ".manifest.json.next").write_text("{")
    (tmp_path / "rewrite.txt").write_text("half")
    async with mirroring_to(tmp_path, room) as setup:
        await until(lambda: setup.text("rewrite.txt") == "rewrite e1 r1\n")


async def test_a_refused_document_changes_no_file(tmp_path):
    async with control_room() as room, mirroring_to(tmp_path, room) as setup:
        await setup.reported("applied", 1)
        await room.release(body_of(snapshot(2)).replace(b"enhance e1 r2", b"enhance e1 r9"))
        await setup.reported("refused", 2)
        assert setup.text() == "enhance e1 r1\n"


async def test_a_look_is_finished_before_the_mirror_ends(tmp_path):
    class Slow(NoReload):
        is_done = False

        async def reload(self, texts: Any, revision: int) -> None:
            await asyncio.sleep(0.2)
            self.is_done = True

    slow = Slow()
    async with control_room() as room:
        async with mirroring_to(tmp_path, room, reloader=slow):
            await until(lambda: (tmp_path / "manifest.json").exists())
        assert slow.is_done


async def test_a_failed_reload_is_tried_again_less_and_less_often(tmp_path):
    calls = []

    class Failing(NoReload):
        async def reload(self, texts: Any, revision: int) -> None:
            calls.append(revision)
            raise NotReloaded("It failed.")

    async with control_room() as room, mirroring_to(tmp_path, room, reloader=Failing(), check=0.01) as setup:
        await until(lambda: len(calls) >= 4)
        assert setup.mirror.pause > setup.mirror.check
        setup.mirror.wake()
        assert setup.mirror.pause == setup.mirror.check
