"""The command `promptops follow` as a process: its options, exit codes, lock and signals. Django is blocked."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from promptops.client.mirror.command import IN_USE, NOT_APPLIED, NOT_HEARD, USAGE, _token, main
from tests.client.loopback import TOKEN, control_room, until
from tests.client.rooms import body_of, snapshot
from tests.client.test_client_pure import BLOCKED

ROOT = Path(__file__).parents[2]
START = f"import sys; sys.modules.update(dict.fromkeys({BLOCKED!r})); from promptops.__main__ import main; main()"


async def start(folder: Path, url: str, *more: str, token: str = TOKEN, layout: str = "fastvideo") -> Process:
    """Start the command."""
    arguments = ["follow", "--url", url, "--server", "gpu-7", "--dir", str(folder), "--layout", layout, *more]
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", START, *arguments),
        env=os.environ | {"PYTHONPATH": str(ROOT), "PROMPTOPS_TOKEN": token},
        stdout=PIPE,
        stderr=PIPE,
    )


async def once(folder: Path, url: str, *more: str, **further: str) -> tuple[int | None, str]:
    """Run it once, and return the exit code and what it wrote."""
    process = await start(folder, url, "--once", *more, **further)
    output, errors = await process.communicate()
    return process.returncode, output.decode() + errors.decode()


async def test_it_follows_until_a_signal_comes_and_alone(tmp_path):
    folder = tmp_path / "prompts"
    async with control_room() as room:
        process = await start(folder, room.url, "--check", "0.2")
        await until(lambda: any(each["type"] == "applied" for each in room.received), 20)
        await room.release(body_of(snapshot(2)))
        await until(lambda: [each for each in room.received if each["type"] == "applied" and each["revision"] == 2])
        assert (folder / "enhance.txt").read_text() == "enhance e1 r2\n"
        assert (await once(folder, room.url))[0] == IN_USE
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(process.communicate(), 10)
        assert process.returncode == 0
        assert b"Traceback" not in errors
        assert b"r2 is applied" in errors
        assert (await once(folder, room.url))[0] == 0


async def test_once_says_by_its_exit_code_what_became_of_the_files(tmp_path):
    async with control_room() as room:
        assert (await once(tmp_path, room.url))[0] == 0
        assert json.loads((tmp_path / "follow-state.json").read_text())["outcome"] == "applied"
        (tmp_path / "enhance.txt").write_text("By hand")
        code, text = await once(tmp_path, room.url)
        assert (code, "enhance.txt" in text) == (NOT_APPLIED, True)
        code, text = await once(tmp_path, room.url, "--on-drift", "restore", "--command", "false")
        assert (code, "exit code 1" in text) == (NOT_APPLIED, True)
        code, text = await once(tmp_path, room.url, token="po_wrong_secret")
        assert (code, "refuses the token" in text, "po_wrong_secret" in text) == (NOT_HEARD, True, False)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.txt")}
    assert (await once(tmp_path, room.url, "--timeout", "1"))[0] == NOT_HEARD
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.txt")} == before


@pytest.mark.parametrize("more", [[], ["--once"]])
async def test_operations_that_are_missing_are_named_in_one_sentence(tmp_path, more):
    async with control_room() as room:
        process = await start(tmp_path, room.url, *more, layout="dreamverse")
        _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == USAGE
    lines = [line for line in errors.decode().splitlines() if "rewrite_window" in line]
    assert len(lines) == 1
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".md"]


WRONG = {
    "no layout": ["--layout", "nothing"],
    "no address": ["--url", "prompts.example.com"],
    "no token file": ["--token-file", "/no/such/file"],
    "no folder": ["--dir", "/no/such/folder"],
    "no folder of ours": ["--dir", "/proc"],
    "two ways": ["--reload-url", "http://127.0.0.1:1/", "--command", "true"],
    "no reload address": ["--reload-url", "127.0.0.1"],
    "no command": ["--command", "'"],
    "no label": ["--label", "zone"],
    "no pause": ["--check", "0"],
    "no number": ["--check", "nan"],
    "an unknown option": ["--dirs", "/tmp"],
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_option_ends_it_with_one_sentence(wrong, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PROMPTOPS_TOKEN", "po_x")
    right = [
        "--url",
        "http://127.0.0.1:1",
        "--server",
        "gpu-7",
        "--dir",
        str(tmp_path / "new"),
        "--layout",
        "fastvideo",
    ]
    assert_usage([*right, *WRONG[wrong]], capsys)


def test_without_a_token_or_an_address_it_does_not_start(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("PROMPTOPS_TOKEN", raising=False)
    monkeypatch.delenv("PROMPTOPS_URL", raising=False)
    rest = ["--server", "gpu-7", "--dir", str(tmp_path), "--layout", "fastvideo"]
    assert_usage([*rest, "--url", "http://127.0.0.1:1"], capsys)
    monkeypatch.setenv("PROMPTOPS_TOKEN", "po_x")
    assert_usage(rest, capsys)


def assert_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Assert that the command ends with code 2 and one line."""
    try:
        code = main(arguments)
    except SystemExit as ended:  # of argparse
        code = ended.code
    assert code == USAGE
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert output.err.startswith("promptops follow: ")


def test_a_renewed_token_file_is_read_again_and_a_lost_one_changes_nothing(tmp_path):
    path = tmp_path / "token"
    path.write_text("po_old\n")
    token = _token(path)
    path.write_text("po_new\n")
    assert token() == "po_new"
    path.write_text("")
    assert token() == "po_new"
    path.unlink()
    assert token() == "po_new"


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"two\nlines", b"\xff", "pö".encode(), b"x" * 2000])
def test_a_token_file_with_anything_else_is_refused(tmp_path, content):
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(ValueError, match=r"\.$"):
        _token(tmp_path / "token")
