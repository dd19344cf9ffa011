"""The examples in docs/servers.md connect a server, in ten lines each, and the unit for systemd fits the command."""

import asyncio
import configparser
import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from promptops.client.mirror.command import EXIT_CODES, USAGE, parser
from promptops.client.mirror.layouts import LAYOUTS
from promptops.engine.snapshot import ProviderSpec
from tests.client.loopback import TOKEN, control_room, until
from tests.client.rooms import body_of, snapshot

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "servers.md").read_text()


def block(heading: str, language: str) -> str:
    """Return the one block of code of that language in a section."""
    [section] = re.findall(rf"^##+ {heading}\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M)
    [code] = re.findall(rf"```{language}\n(.*?)```", section, re.S)
    return code


def lines(code: str) -> list[str]:
    return [line for line in code.splitlines() if line.strip()]


async def test_the_ten_lines_connect_a_server(tmp_path):
    example = block("The library", "python")
    assert len(lines(example)) <= 10
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


async def test_the_command_of_the_page_keeps_files_as_what_is_live(tmp_path):
    example = block("Files", "sh")
    assert len(lines(example)) <= 10
    (tmp_path / "token").write_text(TOKEN)
    async with control_room() as room:
        for name, value in (
            ("https://prompts.example.com", room.url),
            ("/etc/promptops-follow/token", str(tmp_path / "token")),
            ("/srv/fastvideo/prompts", str(tmp_path / "prompts")),
        ):
            assert name in example
            example = example.replace(name, value)
        program, *arguments = shlex.split(example.replace("\\\n", " "))
        assert program == "promptops"
        process = await asyncio.create_subprocess_exec(*(sys.executable, "-m", "promptops", *arguments), cwd=ROOT)
        try:
            await until(lambda: any(each["type"] == "applied" for each in room.received), 20)
            assert (tmp_path / "prompts" / "enhance.txt").read_text() == "enhance e1 r1\n"
        finally:
            if process.returncode is None:
                process.terminate()
            assert await process.wait() == 0


def unit() -> configparser.RawConfigParser:
    """Return the unit for systemd."""
    read = configparser.RawConfigParser(strict=True)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read(ROOT / "deploy" / "systemd" / "promptops-follow.service")
    return read


def test_the_unit_starts_the_command_with_options_that_it_has():
    service = unit()["Service"]
    program, command, *arguments = shlex.split(service["ExecStart"])
    assert (program.rpartition("/")[2], command) == ("promptops", "follow")
    options = parser().parse_args(arguments)
    assert service["ReadWritePaths"] == str(options.dir)
    assert service["RestartPreventExitStatus"] == str(USAGE)
    assert float(service["TimeoutStopSec"]) > options.reload_timeout + 5


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_page_has_each_layout(layout):
    files = ", ".join(f"`{name}`: `{operation}`" for name, operation in LAYOUTS[layout].items())
    assert f"| `{layout}` | {files} |" in PAGE


def test_the_page_has_each_option_and_exit_code():
    options = [option for action in parser()._actions for option in action.option_strings if option.startswith("--")]
    unnamed = [option for option in options if option not in PAGE]
    assert set(unnamed) <= {"--help"}
    codes = re.findall(r"^  (\d)  ", EXIT_CODES, re.M)
    assert [row for row in codes if not re.search(rf"^\| {row} \|", PAGE, re.M)] == []
    state = {"state", "reason", "heard_at", "checked_at", "outcome", "why"}
    assert {name for name in state if f"`{name}`" not in PAGE} == set()
