"""The example in docs/servers.md connects a server, in ten lines."""

import asyncio
import os
import re
import sys
from pathlib import Path

from promptops.engine.snapshot import ProviderSpec
from tests.client.loopback import TOKEN, control_room
from tests.client.rooms import body_of, snapshot

ROOT = Path(__file__).parents[2]


async def test_the_ten_lines_connect_a_server(tmp_path):
    [example] = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "servers.md").read_text(), re.S)
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    async with control_room() as room:
        provider = ProviderSpec(1, "farm", "openai", f"{room.url}/llm", "m", None)
        room.body = body_of(snapshot(3, providers=(provider,)))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", example),
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PROMPTOPS_URL": room.url, "PROMPTOPS_TOKEN": TOKEN},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
    assert (output.decode(), errors.decode()) == ("a fox running through snow, polished (r3, enhance v3)\n", "")
    assert [run["status"] for run in room.runs] == ["succeeded"]
    assert (tmp_path / "promptops.cache").exists()
