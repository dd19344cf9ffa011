"""Writing several files as one step."""

import errno
import os
import tempfile
from pathlib import Path


def write_files(folder: Path, files: dict[str, str]) -> list[Path]:
    """Write the texts into the folder (made if need be) and return the paths.

    All files are written aside first and then renamed, so a reader never sees half a file, and a full disk or a folder
    in a file's place changes nothing. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
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
