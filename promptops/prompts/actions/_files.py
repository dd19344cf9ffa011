"""Exporting texts, and writing several files in one step. The format of a set is in `_set_files`."""

import errno
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from promptops.engine.messages import template_names
from promptops.engine.operations import OperationSpec
from promptops.engine.variables import check, fill, pieces
from promptops.ledger.errors import Refused
from promptops.prompts.checks import failures, run_checks


def write_files(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write the texts into the folder and return the paths. A name may have a folder of its own: `templates/noir.txt`.

    All files are written under other names first and then renamed, in their order. So a reader never sees half a file,
    whoever waits for the last one finds the others, and a full disk or a folder with a file's name changes nothing.
    Raises OSError.
    """
    for path in dict.fromkeys((folder / name).parent for name in files):
        _make_folder(path)
    for name in files:
        if (folder / name).is_dir():
            raise IsADirectoryError(errno.EISDIR, f"{name} is a folder")
    written: list[tuple[str, Path]] = []
    try:
        for name, text in files.items():
            path = folder / name
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".tmp")
            written.append((temporary, path))
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


def _make_folder(path: Path) -> None:
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o755)  # readable for others like its files, whatever the umask of the process


def exported(name: str, body: str, values: Mapping[str, str], *, keep_variables: bool) -> str:
    """Return a live text for export, with the operation's variables filled in unless `keep_variables`.

    Raises Refused when the text uses a variable that is not declared.
    """
    if keep_variables:
        return body
    if failed := failures(run_checks(body, values)):
        raise Refused(f"Nothing was exported, because {name} is not ready: {' '.join(failed)}")
    return fill(body, values)


def exported_template(
    name: str, template: str, values: Mapping[str, str], spec: OperationSpec, *, keep_variables: bool
) -> str:
    """Return a live user template for export, with variables filled in unless `keep_variables`.

    The names of the input stay. Braces in the values are escaped, so that they stay plain text. Raises Refused when the
    template uses a variable that is not declared.
    """
    if keep_variables or not template:
        return template
    inputs = template_names(spec)
    if problems := check(template, {*values, *inputs}):
        raise Refused(f"Nothing was exported, because the user template of {name} is not ready: {problems[0].message}")
    result = "".join(
        values[piece.name].replace("{{", r"\{{") if piece.name and piece.name not in inputs else piece.text
        for piece in pieces(template)
    )
    marks = {each: f"\x00{each}\x00" for each in inputs}  # no text contains NUL
    if fill(result, marks) != fill(template, {**values, **marks}):
        raise Refused(f"Nothing was exported, because a variable of {name} ends in a brace or a backslash.")
    return result
