"""The files in a folder: written as one set, named by a manifest, and looked after.

The manifest is written last. So the set is whole if each file has the SHA-256 that the manifest names. While a set is
being renamed, the next manifest waits under a temporary name. If it is still there at a start, the process before was
killed in the middle, and the set is written again.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptops.client.mirror.layouts import MANIFEST, REPLACED, LiveText

LOCK = ".promptops-follow.lock"
CACHE = ".promptops-follow.cache"
MAX_READ_BYTES = 4 * 1024 * 1024
"""The longest file that is read. A longer one is not the one that was written."""


class FolderInUse(Exception):
    """Another follower has the folder. The message is a sentence."""


@dataclass(frozen=True)
class Manifest:
    """The entries of the manifest: the live document, and the SHA-256 of each file."""

    revision: int
    epoch: str
    sha256: str
    hashes: Mapping[str, str] = field(default_factory=dict)


def hashes_of(texts: Mapping[str, LiveText]) -> dict[str, str]:
    """Return the SHA-256 of each file."""
    return {name: hashlib.sha256(text.data).hexdigest() for name, text in texts.items()}


def combined(hashes: Mapping[str, str]) -> str:
    """Return one SHA-256 for a set of files. It is never that of a live document."""
    return hashlib.sha256(json.dumps(dict(hashes), sort_keys=True).encode()).hexdigest()


class FileSet:
    """The files of one layout in one folder. Its methods read and write the disk, so they belong into a thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: int | None = None

    def lock(self) -> None:
        """Take the folder for this process, and make it if only its last part is missing.

        Raises `FolderInUse` and `OSError`. The system frees the lock if the process dies.
        """
        self.folder.mkdir(exist_ok=True)
        handle = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise FolderInUse(
                f"Another `promptops follow` writes into {self.folder}. Stop it, or use another folder."
            ) from None
        except BaseException:
            os.close(handle)
            raise
        self._lock = handle

    def unlock(self) -> None:
        """Give the folder back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def is_interrupted(self) -> bool:
        """Return whether a set was being written when its process ended."""
        return self._next(MANIFEST).exists()

    def manifest(self) -> Manifest | None:
        """Return the manifest; `None` if it is missing or is not one of this command."""
        return self._read_manifest(self.folder / MANIFEST)

    def actual_hashes(self, names: Mapping[str, str]) -> dict[str, str]:
        """Return the SHA-256 of each file as it is now; "" for one that is missing or cannot be read."""
        return {name: self._hash(name) for name in names}

    def changes(self, manifest: Manifest) -> list[str]:
        """Return a sentence for each file that is not as the manifest names it."""
        sentences = []
        for name, expected in manifest.hashes.items():
            actual = self._hash(name)
            if not actual:
                sentences.append(f"{name} is missing or cannot be read.")
            elif actual != expected:
                sentences.append(f"{name} was changed by somebody else.")
        return sentences

    def write(self, texts: Mapping[str, LiveText], *, revision: int, epoch: str, sha256: str) -> bool:
        """Replace the set as a whole, and return whether a file changed. Raises `OSError`; the set stays then.

        Everything is written under temporary names first, so a full disk changes nothing. Then the files that changed
        are renamed, and the manifest last.
        """
        hashes = hashes_of(texts)
        actual = self.actual_hashes(hashes)
        changed = [name for name in texts if actual[name] != hashes[name]]
        for name in changed:
            if (self.folder / name).is_dir():
                raise IsADirectoryError(errno.EISDIR, f"{name} is a folder")
        manifest = {
            "revision": revision,
            "epoch": epoch,
            "sha256": sha256,
            "files": {
                name: {
                    "operation": text.operation,
                    "template": text.template,
                    "version": text.version,
                    "sha256": hashes[name],
                }
                for name, text in texts.items()
            },
        }
        known = self._known_hashes()
        contents = {name: texts[name].data for name in changed}
        contents |= {
            name + REPLACED: data
            for name in changed
            if actual[name] and actual[name] not in known.get(name, ()) and (data := self._data(name))
        }
        contents[MANIFEST] = (json.dumps(manifest, ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode()
        self._write_all(contents)
        return bool(changed)

    def write_one(self, name: str, values: Mapping[str, Any]) -> None:
        """Write a JSON file whole or not at all. Raises `OSError`."""
        self._write_all({name: (json.dumps(dict(values), ensure_ascii=False, indent=2) + "\n").encode()})

    def read_json(self, name: str) -> dict[str, Any]:
        """Return a JSON file's object; an empty one if there is none."""
        try:
            values = json.loads(self._data(name))
        except (ValueError, RecursionError):
            return {}
        return values if isinstance(values, dict) else {}

    def _write_all(self, contents: Mapping[str, bytes]) -> None:
        renamed = 0
        try:
            for name, data in contents.items():
                self._write_next(name, data)
            for name in sorted(contents, key=lambda name: (not name.endswith(REPLACED), name == MANIFEST)):
                os.replace(self._next(name), self.folder / name)
                renamed += 1
        except BaseException:
            if not renamed:
                for name in contents:
                    with suppress(OSError):
                        self._next(name).unlink()
            raise
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _write_next(self, name: str, data: bytes) -> None:
        path = self._next(name)
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _next(self, name: str) -> Path:
        """Return the temporary name. There is one for each file, because the folder has one writer."""
        return self.folder / f".{name}.next"

    def _hash(self, name: str) -> str:
        data = self._data(name)
        return hashlib.sha256(data).hexdigest() if data else ""

    def _data(self, name: str) -> bytes:
        """Return what a file holds; nothing if it is no readable file or too long."""
        try:
            handle = os.open(self.folder / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(handle, "rb") as file:
                data = file.read(MAX_READ_BYTES + 1) or b""
        except OSError:
            return b""
        return data if len(data) <= MAX_READ_BYTES else b""

    def _known_hashes(self) -> dict[str, set[str]]:
        """Return the SHA-256 of files that this command wrote, also in the middle of a set."""
        known: dict[str, set[str]] = {}
        for path in (self.folder / MANIFEST, self._next(MANIFEST)):
            if manifest := self._read_manifest(path):
                for name, sha256 in manifest.hashes.items():
                    known.setdefault(name, set()).add(sha256)
        return known

    def _read_manifest(self, path: Path) -> Manifest | None:
        values = self.read_json(path.name)
        try:
            hashes = {str(name): str(facts["sha256"]) for name, facts in values["files"].items()}
            return Manifest(int(values["revision"]), str(values["epoch"]), str(values["sha256"]), hashes)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
