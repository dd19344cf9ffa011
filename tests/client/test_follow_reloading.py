"""Making a server reload: by the protocol of a demo app on loopback, and by a command."""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from promptops.client.mirror.files import FileSet
from promptops.client.mirror.layouts import live_texts
from promptops.client.mirror.reloading import CommandReload, HttpReload, NoReload, NotReloaded, OtherTexts
from tests.client.demo_app import LAYOUT, LIE, demo_app
from tests.client.rooms import snapshot

TEXTS = live_texts(snapshot(2), LAYOUT)


def put(folder: Path, text: str = "") -> dict:
    texts = live_texts(snapshot(2, text=text), LAYOUT)
    FileSet(folder).write(texts, revision=2, epoch="e1", sha256="2" * 64)
    return texts


@pytest.mark.parametrize("text", ["", "  two\r\nlines \n\n", "Ünï\u2028x"])
async def test_an_empty_post_reloads_and_the_texts_are_compared(tmp_path, text):
    texts = put(tmp_path, text)
    async with demo_app(tmp_path) as app:
        await HttpReload(app.url, 5).reload(texts, 2)
        assert app.posts == [{}]
        await HttpReload(app.url, 5).verify(texts)
        assert app.posts == [{}]
        assert not {name.lower() for headers in app.headers for name in headers} & {"authorization", "cookie"}


@pytest.mark.parametrize("fault", ["refuses", "hangs", "silent", "moves"])
async def test_a_reload_that_fails_is_told_from_one_with_other_texts(tmp_path, fault):
    texts = put(tmp_path)
    async with demo_app(tmp_path, fault=fault) as app:
        with pytest.raises(NotReloaded, match=r"^The server.*\.$"):
            await HttpReload(app.url, 0.2).reload(texts, 2)


async def test_other_texts_are_named_by_key_and_never_quoted(tmp_path):
    texts = put(tmp_path)
    async with demo_app(tmp_path, fault="lies") as app:
        with pytest.raises(OtherTexts) as raised:
            await HttpReload(app.url, 5).reload(texts, 2)
    assert "next_segment_system_prompt" in str(raised.value)
    assert LIE not in str(raised.value)
    assert set(raised.value.hashes) == set(LAYOUT)


async def test_a_server_that_is_down_is_not_reloaded(tmp_path):
    async with demo_app(tmp_path) as app:
        pass
    with pytest.raises(NotReloaded):
        await HttpReload(app.url, 1).reload(TEXTS, 2)


@pytest.mark.parametrize("url", ["", "localhost:8009/x", "ftp://x/y", "http://a:b@x/", "http://169.254.169.254/", "/x"])
def test_an_address_that_cannot_be_used_is_refused_at_once(url):
    with pytest.raises(ValueError, match=r"\.$"):
        HttpReload(url, 1)


def python(code: str, folder: Path, seconds: float = 20) -> CommandReload:
    return CommandReload((sys.executable, "-c", code), folder, seconds)


async def test_a_command_knows_the_revision_and_the_folder_and_no_token(tmp_path, monkeypatch):
    monkeypatch.setenv("PROMPTOPS_TOKEN", "po_secret")
    code = "import os; open(os.environ['PROMPTOPS_DIR'] + '/seen', 'w').write(str(dict(os.environ)))"
    await python(code, tmp_path).reload(TEXTS, 42)
    seen = (tmp_path / "seen").read_text()
    assert "'PROMPTOPS_REVISION': '42'" in seen
    assert "po_secret" not in seen


@pytest.mark.parametrize(
    ("code", "why"), [("raise SystemExit(3)", "exit code 3"), ("import os; os.kill(os.getpid(), 9)", "signal 9")]
)
async def test_a_command_that_fails_is_not_reloaded(tmp_path, code, why):
    with pytest.raises(NotReloaded, match=why):
        await python(code, tmp_path).reload(TEXTS, 1)


async def test_a_command_that_hangs_ends_with_its_children(tmp_path):
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open(os.environ['PROMPTOPS_DIR'] + '/pid', 'w').write(str(child.pid)); time.sleep(60)"
    )
    began = time.monotonic()
    with pytest.raises(NotReloaded, match="did not end"):
        await python(code, tmp_path, 1).reload(TEXTS, 1)
    assert time.monotonic() - began < 30
    pid = int((tmp_path / "pid").read_text())
    for _ in range(200):
        if is_gone(pid):
            break
        await asyncio.sleep(0.02)
    assert is_gone(pid)


def is_gone(pid: int) -> bool:
    """Return whether a process has ended, also if nobody has asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


async def test_a_missing_command_is_not_reloaded(tmp_path):
    with pytest.raises(NotReloaded, match=os.strerror(2)):
        await CommandReload(("/no/such/command",), tmp_path, 1).reload(TEXTS, 1)


@pytest.mark.parametrize("command", ["", "  ", "echo 'open"])
def test_a_command_line_that_cannot_be_read_is_refused(tmp_path, command):
    with pytest.raises(ValueError, match=r"\.$"):
        CommandReload.parsed(command, tmp_path, 1)
    assert CommandReload.parsed("kill -HUP 'a b'", tmp_path, 1).arguments == ("kill", "-HUP", "a b")


async def test_without_a_reload_nothing_is_called():
    await NoReload().reload(TEXTS, 1)
    await NoReload().verify(TEXTS)
