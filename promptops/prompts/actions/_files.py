"""Texts as they are exported, and writing several files as one step."""

import errno
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from promptops.engine.variables import fill
from promptops.ledger.errors import Refused
from promptops.prompts.checks import failures, run_checks


def write_files(folder: Path, files: dict[str, str]) -> list[Path]:
    """Write the texts into the folder (made if need be) and return the paths.

    All files are written aside first and then renamed, so a reader never sees half a file, and a full disk or a folder
    in a file's place changes nothing. Raises OSError.
    """
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # as the files in it, for others to read, whatever the umask of the process is
    for name in files:
        if (folder / name).is_dir():
            raise IsADirectoryError(errno.EISDIR, f"{name} is a folder")
    written: list[tuple[str, Path]] = []
    try:
        for name, text in files.items():
            descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}-", suffix=".tmp")
            written.append((temporary, folder / name))
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
        for temporary, path in written:
            os.replace(temporary, path)
    finally:
        for temporary, _ in written:
            Path(temporary).unlink(missing_ok=True)
    return [path for _, path in written]


def exported(name: str, body: str, values: Mapping[str, str], *, keep_variables: bool) -> str:
    """A live text as it is exported: with the operation's variables filled in, unless they are to be kept.

    Raises Refused when it uses one that is not declared.
    """
    if keep_variables:
        return body
    if failed := failures(run_checks(body, values)):
        raise Refused(f"{name} was not exported, nor any other: {' '.join(failed)}")
    return fill(body, values)
