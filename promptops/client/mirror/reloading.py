"""Making a server read its files again: by an HTTP address, by a command, or not at all.

Each way has a time limit, and its errors are sentences without the texts. The address gets no token of PromptOps, and
the command does not see it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shlex
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Protocol
from urllib.parse import urlsplit

from promptops.client.mirror.layouts import LiveText
from promptops.client.wire import WireError, call_server
from promptops.engine.addresses import refusal_of_url

MAX_ANSWER_BYTES = 8 * 1024 * 1024
WITHHELD_VARIABLE = "PROMPTOPS_TOKEN"
"""The variable that a command never sees."""


class NotReloaded(Exception):
    """The server did not reload, or does not say what it uses. The message is a sentence."""


class OtherTexts(Exception):
    """The server uses other texts. `hashes` are those of what it uses, by file."""

    def __init__(self, message: str, hashes: Mapping[str, str]) -> None:
        super().__init__(message)
        self.hashes = hashes


class Reloader(Protocol):
    """One way to make the server read its files. Both methods raise `NotReloaded` and `OtherTexts`."""

    async def reload(self, texts: Mapping[str, LiveText], revision: int) -> None:
        """Make the server read its files, and check that it uses them."""

    async def verify(self, texts: Mapping[str, LiveText]) -> None:
        """Check that the server uses the texts, if it can say so."""


class NoReload:
    """The server reads its files by itself."""

    async def reload(self, texts: Mapping[str, LiveText], revision: int) -> None:
        """Do nothing."""

    async def verify(self, texts: Mapping[str, LiveText]) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class CommandReload:
    """A command without a shell. It gets the folder and the revision in its environment, but not the token."""

    arguments: tuple[str, ...]
    folder: Path
    seconds: float

    @classmethod
    def parsed(cls, command: str, folder: Path, seconds: float) -> CommandReload:
        """Return the way of a command line as a shell would split it. Raises `ValueError` with a sentence."""
        try:
            arguments = shlex.split(command)
        except ValueError:
            arguments = []
        if not arguments:
            raise ValueError("The command is empty or has an open quote. Write it as you would type it.")
        return cls(tuple(arguments), folder, seconds)

    async def reload(self, texts: Mapping[str, LiveText], revision: int) -> None:
        """Run the command."""
        environment = {name: value for name, value in os.environ.items() if name != WITHHELD_VARIABLE}
        environment |= {"PROMPTOPS_REVISION": str(revision), "PROMPTOPS_DIR": str(self.folder)}
        try:
            process = await asyncio.create_subprocess_exec(
                *self.arguments, env=environment, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            raise NotReloaded(f"The reload command cannot be started: {error.strerror}.") from None
        try:
            async with asyncio.timeout(self.seconds):
                code = await process.wait()
        except TimeoutError:
            raise NotReloaded(f"The reload command did not end within {self.seconds:g} seconds.") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if code:
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            raise NotReloaded(f"The reload command ended with {how}. Its output is in the log of `promptops follow`.")

    async def verify(self, texts: Mapping[str, LiveText]) -> None:
        """Do nothing: a command says nothing about the server's texts."""


@dataclass(frozen=True)
class HttpReload:
    """An address with the protocol of `/prompt-system-config`.

    A POST of an empty object reloads the files. A GET answers with a JSON object that has each text under the file's
    name without its ending. Line ends and blank space around a text do not count, because servers strip it.
    """

    url: str
    seconds: float

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment or "@" in self.url:
            raise ValueError("The reload address must be like http://127.0.0.1:8009/prompt-system-config.")
        if why := refusal_of_url(self.url):
            raise ValueError(why)

    async def reload(self, texts: Mapping[str, LiveText], revision: int) -> None:
        """Post, then read back."""
        await self._call("POST")
        await self.verify(texts)

    async def verify(self, texts: Mapping[str, LiveText]) -> None:
        """Read back, and compare each text."""
        try:
            answer = json.loads(await self._call("GET"))
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise NotReloaded("The server's answer to GET is not a JSON object, so its texts cannot be compared.")
        used = {name: answer.get(PurePath(name).stem) for name in texts}
        other = [
            PurePath(name).stem
            for name, text in used.items()
            if not isinstance(text, str) or _normal(text) != _normal(texts[name].text)
        ]
        if other:
            raise OtherTexts(
                f"The server answers with another text than its file for {', '.join(other)}.",
                {name: _sha256(text) if isinstance(text, str) else "" for name, text in used.items()},
            )

    async def _call(self, method: str) -> bytes:
        """Return the body of a successful answer."""
        try:
            status, body = await call_server(method, self.url, seconds=self.seconds, limit=MAX_ANSWER_BYTES)
        except WireError as error:
            raise NotReloaded(str(error)) from None
        except TimeoutError:
            raise NotReloaded(f"The server did not answer {method} within {self.seconds:g} seconds.") from None
        if not 200 <= status < 300:
            raise NotReloaded(f"The server answered {method} with HTTP {status}.")
        return body


def _normal(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _sha256(text: str) -> str:
    return hashlib.sha256(_normal(text).encode(errors="replace")).hexdigest()
