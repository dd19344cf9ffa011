"""The command line of `promptops follow`: its options, its exit codes, its start and its end."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import promptops
from promptops.client.contents import Contents
from promptops.client.follower import Contact
from promptops.client.mirror.files import CACHE, FileSet, FolderInUse
from promptops.client.mirror.layouts import LAYOUTS, InvalidLayout, Layout, read_layout
from promptops.client.mirror.mirroring import FileFollower, Mirror, NoFilters, OnDrift
from promptops.client.mirror.reloading import WITHHELD_VARIABLE, CommandReload, HttpReload, NoReload, Reloader
from promptops.client.timing import Clock, Timing
from promptops.client.wire import HttpWire, checked_url
from promptops.engine.providers.key_variables import Permitted

log = logging.getLogger("promptops.follow")

APPLIED, NOT_APPLIED, USAGE, IN_USE, NOT_HEARD = range(5)
MAX_TOKEN_BYTES = 1024
DELIVERY_SECONDS = 5.0

EXIT_CODES = """\
exit codes:
  0  stopped by a signal; with --once: what is live is in the files and the server uses it
  1  with --once: the files or the server could not be brought to what is live
  2  an option is wrong, or the layout needs operations that the installation does not have
  3  another `promptops follow` has the folder
  4  with --once: the control room was not heard; the files stay
"""


@dataclass(frozen=True)
class Options:
    """The checked options."""

    url: str
    token: Callable[[], str]
    server: str
    folder: Path
    layout: Layout
    reloader: Reloader
    on_drift: OnDrift
    check: float
    labels: dict[str, str]
    once: bool
    timeout: float


class Usage(ValueError):
    """An option cannot be used. The message is a sentence."""


class Parser(argparse.ArgumentParser):
    """Ends with one sentence and code 2."""

    def error(self, message: str) -> NoReturn:
        """Print the sentence."""
        self.exit(USAGE, f"{self.prog}: {message}\n")


def parser() -> Parser:
    """Return the parser of the options."""
    result = Parser(
        prog="promptops follow",
        description="Keep the files of a streaming server as what is live in PromptOps.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = result.add_argument
    add("--url", default=os.environ.get("PROMPTOPS_URL", ""), help="PromptOps' address (or PROMPTOPS_URL)")
    add("--token-file", type=Path, help=f"file with the token, read again at each call (or {WITHHELD_VARIABLE})")
    add("--server", required=True, help="this server's name on the fleet page")
    add("--dir", required=True, type=Path, help="folder of the files")
    add(
        "--layout",
        required=True,
        nargs="+",
        metavar="LAYOUT",
        help=f"{', '.join(LAYOUTS)}, or FILE=OPERATION; several are joined, and the later one counts",
    )
    reload = result.add_mutually_exclusive_group()
    reload.add_argument("--reload-url", metavar="URL", help="POST {} there after a change, then GET and compare")
    reload.add_argument("--command", help="command to run after a change, without a shell")
    add("--reload-timeout", type=float, default=10.0, metavar="SECONDS", help="longest time of a reload (10)")
    add(
        "--on-drift",
        choices=("report", "restore"),
        default="report",
        help="if somebody else changes a file: report it and keep the change until the next release (the default), or "
        "restore the live text at once",
    )
    add("--check", type=float, default=10.0, metavar="SECONDS", help="pause between two looks at the files (10)")
    add("--label", action="append", default=[], metavar="NAME=TEXT", help="label on the fleet page; may be repeated")
    add("--once", action="store_true", help="bring the files up to date once, and end")
    add("--timeout", type=float, default=30.0, metavar="SECONDS", help="with --once: longest time (30)")
    return result


def read_options(arguments: list[str]) -> Options:
    """Return the checked options. Raises `Usage`."""
    given = parser().parse_args(arguments)
    try:
        url = checked_url(given.url) if given.url else ""
        layout = read_layout(given.layout)
        reloader = _reloader(given)
    except (InvalidLayout, ValueError) as error:
        raise Usage(str(error)) from None
    if not url:
        raise Usage("The control room's address is missing. Give --url or set PROMPTOPS_URL.")
    for option in ("check", "reload_timeout", "timeout"):
        if not 0.1 <= getattr(given, option) <= 3600:
            raise Usage(f"--{option.replace('_', '-')} is a number of seconds from 0.1 to 3600.")
    labels = dict(label.partition("=")[::2] for label in given.label)
    if "" in labels or not all("=" in label for label in given.label):
        raise Usage("A label is NAME=TEXT, such as zone=a.")
    return Options(
        url=url,
        token=_token(given.token_file),
        server=given.server,
        folder=given.dir.absolute(),
        layout=layout,
        reloader=reloader,
        on_drift=given.on_drift,
        check=given.check,
        labels=labels,
        once=given.once,
        timeout=given.timeout,
    )


def _reloader(given: argparse.Namespace) -> Reloader:
    if given.reload_url:
        return HttpReload(given.reload_url, given.reload_timeout)
    if given.command is not None:
        return CommandReload.parsed(given.command, given.dir.absolute(), given.reload_timeout)
    return NoReload()


def _token(path: Path | None) -> Callable[[], str]:
    """Return a function that returns the newest token. A file that cannot be read later changes nothing."""
    if path is None:
        text = os.environ.get(WITHHELD_VARIABLE, "").strip()
        if not text or not text.isascii() or not text.isprintable():
            raise Usage(f"The token is missing. Give --token-file or set {WITHHELD_VARIABLE}.")
        return lambda: text
    newest = _read_token(path)

    def token() -> str:
        nonlocal newest
        with suppress(Usage):
            newest = _read_token(path)
        return newest

    return token


def _read_token(path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_TOKEN_BYTES + 1).decode().strip()
    except OSError as error:
        raise Usage(f"The token file {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isascii() or not text.isprintable() or " " in text or len(text) > MAX_TOKEN_BYTES:
        raise Usage(f"The token file {path} must have one line with the token.")
    return text


def main(arguments: list[str]) -> int:
    """Run the command, and return its exit code."""
    try:
        options = read_options(arguments)
    except Usage as error:
        print(f"promptops follow: {error}", file=sys.stderr)
        return USAGE
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    files = FileSet(options.folder)
    try:
        files.lock()
    except FolderInUse as error:
        print(f"promptops follow: {error}", file=sys.stderr)
        return IN_USE
    except OSError as error:
        print(f"promptops follow: {options.folder} cannot be used: {error.strerror}.", file=sys.stderr)
        return USAGE
    try:
        return asyncio.run(follow(options, files))
    finally:
        files.unlock()


async def follow(options: Options, files: FileSet) -> int:
    """Follow until a signal comes, or once, and return the exit code."""
    mirror, follower = assembled(options, files, Clock(), Timing())
    following = asyncio.create_task(follower.follow())
    stopped = _stopped_by_signals()
    try:
        if options.once:
            return await _once(options, mirror, follower, stopped)
        return await _forever(mirror, stopped)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await follower.wire.close()


def assembled(options: Options, files: FileSet, clock: Clock, timing: Timing) -> tuple[Mirror, FileFollower]:
    """Return the mirror, with the newest content of the cache file, and its follower. Nothing runs yet."""
    contents = Contents(
        cache=files.folder / CACHE,
        filters=NoFilters(),
        permitted=Permitted.read([]),
        clock=clock,
        epoch_pause=timing.epoch_pause,
    )
    contents.load_first(bootstrap=None, texts={})
    contact = Contact()
    mirror = Mirror(
        contents,
        files,
        options.layout,
        options.reloader,
        on_drift=options.on_drift,
        check=options.check,
        contact=contact,
        clock=clock,
        timing=timing,
    )
    introduction = {
        "server": options.server,
        "version": promptops.__version__,
        "kind": "files",
        "labels": options.labels,
        "instance": str(uuid.uuid4()),
    }
    wire = HttpWire(options.url, options.token, agent="PromptOps-follow")
    follower = FileFollower(
        wire, contents, introduction, lambda: mirror.state, lambda: 0.0, clock, timing, contact=contact
    )
    follower.mirror = mirror
    return mirror, follower


async def _forever(mirror: Mirror, stopped: asyncio.Event) -> int:
    mirroring = asyncio.create_task(mirror.run())
    try:
        await _first(stopped.wait(), mirror.is_hopeless.wait(), asyncio.shield(mirroring))
    finally:
        mirroring.cancel()
        await asyncio.gather(mirroring, return_exceptions=True)
    return APPLIED if stopped.is_set() else USAGE


async def _once(options: Options, mirror: Mirror, follower: FileFollower, stopped: asyncio.Event) -> int:
    """Bring the files up to date, wait until the report is sent, and return the exit code."""
    with suppress(TimeoutError):
        async with asyncio.timeout(options.timeout):
            await _first(follower.answered.wait(), stopped.wait())
    contact = follower.contact
    if contact.heard_at is None or not mirror.contents.current.sha256:
        reason = contact.token_refusal or contact.document_refusal or contact.failure
        log.error("The control room gave no content. %s The files stay as they are.", reason)
        return NOT_HEARD
    await mirror.look()
    with suppress(TimeoutError):
        async with asyncio.timeout(DELIVERY_SECONDS):
            while follower.delivered is not mirror.verdict:
                await follower.has_delivered.wait()
    if mirror.is_hopeless.is_set():
        return USAGE
    is_newest = not contact.document_refusal and contact.behind_since is None
    is_applied = mirror.verdict is not None and mirror.verdict.outcome == "applied"
    return APPLIED if is_newest and is_applied else NOT_APPLIED


async def _first(*works: Awaitable[Any]) -> None:
    """Wait for the first of the works, and cancel the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _stopped_by_signals() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(ValueError, RuntimeError, NotImplementedError):  # another thread than the main one
            loop.add_signal_handler(number, stopped.set)
    return stopped
