"""Files that take long to make, made once for a test run: its other processes wait for them and copy them."""

import atexit
import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path


@cache
def _folder() -> Path:
    """Return the folder of this test run. The last of its processes removes it."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
    folder = Path(tempfile.gettempdir()) / f"promptops-once-{run}"
    folder.mkdir(mode=0o700, exist_ok=True)
    users = (folder / "users").open("w")
    fcntl.flock(users, fcntl.LOCK_SH)

    def leave() -> None:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(leave)
    return folder


def made_once(name: str, make: Callable[[Path], None]) -> tuple[Path, bool]:
    """Return the file, and whether this call has made it."""
    path = _folder() / name
    with (_folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return path, False
        half = path.with_suffix(".half")
        make(half)
        half.rename(path)
        return path, True
