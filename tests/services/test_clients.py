"""The library against the real application: a server process, its socket, its routes, its tokens."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import httpx
import pytest

from promptops.client import LiveEnhancer, Timing
from promptops.engine.safety.guard import SHIPPED
from tests.client.loopback import control_room, until
from tests.client.test_client_runs import Model
from tests.client.test_docs_example import block, lines
from tests.client.test_follow_command import start
from tests.conftest import missing
from tests.services.server import make_database, manage, serving

MAKE = """
from promptops.ledger.audit import COMMAND_LINE
from promptops.people.actions.tokens import make_token
for name in ("any", "run", "release", "gpu-7", "gpu-8"):
    scopes = {"run": ("run",), "release": ("release", "read")}.get(name, ("follow", "read"))
    bound_to = name if name.startswith("gpu") else ""
    print(make_token(name, scopes, by=COMMAND_LINE, server=bound_to)[1])
"""
REVOKE = """
from promptops.ledger.audit import COMMAND_LINE
from promptops.people.actions.tokens import revoke_token
from promptops.people.models import Token
revoke_token(Token.objects.get(name="gpu-7"), by=COMMAND_LINE)
"""

REPLACE_EMBEDDED_MODEL = """
from promptops.ledger.audit import COMMAND_LINE
from promptops.providers.actions.chain import ProviderFields, create_provider, set_enabled
from promptops.providers.models import Provider
set_enabled(Provider.objects.get(name="local"), False, by=COMMAND_LINE)  # where it is installed, it would answer
create_provider(ProviderFields("farm", "openai", "m", base_url="%s/llm"), by=COMMAND_LINE)
"""


@dataclass
class Real:
    """A server process, its folder, and its tokens by name."""

    address: str
    folder: Path
    tokens: dict[str, str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """Start once for all tests here: starting takes longer than most of them."""
    folder = tmp_path_factory.mktemp("real")
    make_database(folder)
    with serving(folder) as running:
        texts = shell(folder, MAKE).splitlines()
        yield Real(running.address, folder, dict(zip(("any", "run", "release", "gpu-7", "gpu-8"), texts, strict=True)))


def shell(folder: Path, code: str) -> str:
    done = manage(folder, "shell", "--no-imports", "-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


async def publish_by_command(folder: Path, text: str) -> None:
    (folder / "text").write_text(text)
    done: subprocess.CompletedProcess[str] = await asyncio.to_thread(
        manage, folder, "publish", "enhance", "--file", str(folder / "text")
    )
    assert done.returncode == 0, done.stderr


async def publish(server: Real, text: str) -> None:
    """Publish over HTTP, which takes no process of its own."""
    headers = {"Authorization": f"Bearer {server.tokens['release']}"}
    async with httpx.AsyncClient(base_url=server.address, headers=headers, timeout=60) as client:
        version = (await client.get("/api/v1/templates/enhance")).json()["version"]
        body = {"text": text, "expected": version, "note": "Try"}
        (await client.post("/api/v1/templates/enhance/publish", json=body)).raise_for_status()


async def shown_server(server: Real, name: str, is_there: Callable[[dict], bool]) -> dict:
    """Return the server as the list of servers shows it, once the condition holds or half a minute is over."""
    row: dict = {}
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {server.tokens['any']}"}) as session:
        for _ in range(1500):
            async with session.get(f"{server.address}/api/v1/servers") as answer:
                servers = (await answer.json())["servers"]
            if is_there(row := next((each for each in servers if each["name"] == name), {})):
                break
            await asyncio.sleep(0.02)
    return row


async def test_a_release_reaches_the_server_and_its_acknowledgement_the_list(server):
    token = server.tokens["any"]
    values = {"server": "gpu-7", "cache": server.folder / "live.cache", "providers": [Model()], "labels": {"zone": "a"}}
    async with LiveEnhancer(server.address, token, **values) as live:
        assert (live.state.state, live.state.way) == ("ready", "socket")
        before = live.state.revision
        await publish_by_command(server.folder, "Polish it.")
        await until(lambda: live.state.revision == before + 1)
        response = await live.enhance("a fox")
        assert (response.content, response.revision) == ("a fox by Polish it.", before + 1)
        shown = await shown_server(server, "gpu-7", lambda row: row.get("sha256") == live.state.sha256)
        assert (shown["sha256"], shown["revision"]) == (live.state.sha256, live.state.revision)
        assert (shown["standing"], shown["labels"], shown["filtered"]) == ("current", {"zone": "a"}, True)
    offline = LiveEnhancer(server.address, "", server="gpu-7", cache=server.folder / "live.cache", offline=True)
    async with offline:
        assert offline.state.sha256 == response.sha256


async def test_polls_follow_and_acknowledge_too(server, monkeypatch):
    from promptops.client import wire
    from promptops.client.wire import WireError

    def closed(self):
        raise WireError("This proxy opens no sockets.")

    monkeypatch.setattr(wire.HttpWire, "socket", closed)
    token = server.tokens["gpu-8"]
    async with LiveEnhancer(server.address, token, server="gpu-8", providers=[Model()]) as live:
        assert (live.state.state, live.state.way) == ("ready", "long poll")
        before = live.state.revision
        await publish(server, "Polish it well.")
        await until(lambda: live.state.revision == before + 1)


async def test_a_release_reaches_the_files_and_their_acknowledgement_the_list(server, tmp_path):
    await publish(server, "Polish it again.")
    process = await start(tmp_path, server.address, "--check", "0.2", token=server.tokens["any"])
    try:
        await until(lambda: (tmp_path / "enhance.txt").exists(), 20)
        assert (tmp_path / "enhance.txt").read_text() == "Polish it again.\n"
        await publish(server, "Polish it once more.")
        await until(lambda: (tmp_path / "enhance.txt").read_text() == "Polish it once more.\n")
        revision = json.loads((tmp_path / "manifest.json").read_text())["revision"]
        expected = {"kind": "files", "standing": "current", "revision": revision, "filtered": False}
        row = await shown_server(server, "gpu-7", lambda row: expected.items() <= row.items())
        assert expected.items() <= row.items()
        (tmp_path / "enhance.txt").write_text("By hand")
        row = await shown_server(server, "gpu-7", lambda row: row.get("standing") == "drifted")
        assert (row["standing"], "enhance.txt" in json.dumps(row)) == ("drifted", True)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()
    assert process.returncode == 0


async def test_the_safety_model_of_the_control_room_is_the_one_that_its_document_names(server):
    token = server.tokens["any"]
    async with LiveEnhancer(server.address, token, server="gpu-9") as live:
        data = await live._following.wire.model(live.snapshot.safety.model_number)
    assert data == (SHIPPED / json.loads((SHIPPED / "current.json").read_text())["file"]).read_bytes()


async def test_a_token_of_another_server_and_a_revoked_one_are_refused_and_runs_go_on(server):
    token = server.tokens["gpu-7"]
    states = []
    async with LiveEnhancer(server.address, token, server="gpu-1", timing=Timing(unauthorized=0.1)) as other:
        await until(lambda: other.state.state == "refused")
    values = {"providers": [Model()], "on_state": lambda state: states.append(state.state)}
    async with LiveEnhancer(server.address, token, server="gpu-7", timing=Timing(watch=0.01), **values) as live:
        assert live.state.state == "ready"
        await asyncio.to_thread(shell, server.folder, REVOKE)
        await until(lambda: live.state.state == "refused")
        assert (await live.enhance("a fox")).revision == live.state.revision
        await until(lambda: states[-1] == "refused")  # another task tells it


async def test_the_examples_of_the_page_run_an_operation_over_http(server):
    if not shutil.which("curl"):
        missing("curl is not installed")
    async with control_room() as provider:
        await publish(server, "Polish it over HTTP.")
        await asyncio.to_thread(shell, server.folder, REPLACE_EMBEDDED_MODEL % provider.url)
        await live_has_provider(server, "farm")
        answers = []
        for program in (("bash", "-c", block("HTTP", "sh")), (sys.executable, "-c", block("HTTP", "python"))):
            assert len(lines(program[-1])) <= 10
            process = await asyncio.create_subprocess_exec(
                *program,
                env=os.environ | {"PROMPTOPS_URL": server.address, "PROMPTOPS_TOKEN": server.tokens["run"]},
                stdout=asyncio.subprocess.PIPE,
            )
            answers.append((await process.communicate())[0].decode())
            assert process.returncode == 0
    answer = json.loads(answers[0])
    assert (answer["content"], answer["provider"]) == ("a fox running through snow, polished", "farm")
    assert answers[1] == f"{answer['content']} (r{answer['revision']}, {answer['template']} v{answer['version']})\n"


async def live_has_provider(server: Real, name: str) -> None:
    """Wait until the server process has the provider: another process added it."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {server.tokens['any']}"}) as session:
        for _ in range(1500):
            async with session.get(f"{server.address}/api/v1/live") as answer:
                if name in [provider["name"] for provider in (await answer.json())["chain"]]:
                    return
            await asyncio.sleep(0.02)
    raise AssertionError(f"{name} is not live")
