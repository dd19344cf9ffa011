"""Files that cost much to read: time and memory until the form of a prompt set, or an import, has an answer.

Each case runs in a process of its own, whose peak memory then is the case's.
"""

import io
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIZE = 8 * 1024 * 1024
"""Bytes: the largest file that a prompt set's form reads."""


def _filled(unit: str) -> bytes:
    return (unit * (SIZE // len(unit.encode()))).encode()


CASES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "[1 per line": ("jsonl", lambda: _filled("[1\n")),
    "one short text per line": ("jsonl", lambda: _filled('"a"\n')),
    "one line of empty objects": ("jsonl", lambda: b"[" + _filled("{},")[:-2] + b"]"),
    "one line of brackets": ("jsonl", lambda: _filled("[")),
    "one digit after the other": ("jsonl", lambda: _filled("1")),
    "blank lines": ("txt", lambda: _filled(" \n")),
    "one letter per line": ("txt", lambda: _filled("a\n")),
    "one line of blanks": ("txt", lambda: _filled(" ")),
    "a block of short lines": ("blocks.txt", lambda: _filled("a\n")),
    "NUL per line": ("txt", lambda: _filled("\0\n")),
    "different texts": ("txt", lambda: "\n".join(f"{number:x}" for number in range(SIZE // 7)).encode()),
    "empty rows": ("csv", lambda: _filled(",\n")),
    "one row of commas": ("csv", lambda: _filled(",")),
    "one letter per row": ("csv", lambda: _filled("a\n")),
    "rows without their column": ("tsv", lambda: b"a\tprompt\n" + _filled("a\n")[:-20]),
    "an import of many keys": ("zip", lambda: _archive(60)),
    "an import of many empty files": ("zip", lambda: _archive(0, 40_000)),
}


def _archive(templates: int, empty: int = 0) -> bytes:
    """A zip archive of descriptions with as many keys as fit into 64 KiB, and of empty files."""
    keys = ",".join(f'"{number:x}":0' for number in range(8000))[:65_000].rsplit(",", 1)[0]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(templates):
            archive.writestr(f"t{number}.json", f"{{{keys}}}")
            archive.writestr(f"t{number}.txt", "text")
        for number in range(empty):
            archive.writestr(f"{number}", "")
    return buffer.getvalue()


def bench_uploads() -> list[dict[str, Any]]:
    """Seconds and MiB of each case, and the number of problems or inputs that came of it."""
    rows = []
    for name in CASES:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.uploads", name], capture_output=True, text=True, timeout=300
            )
            figures = json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr[-200:]}
        except subprocess.TimeoutExpired:
            figures = {"seconds": "over 300", "mib": "", "outcome": ""}
        rows.append({"case": name, **figures})
    return rows


def _peak_mib() -> float:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def _read(kind: str, data: bytes) -> str:
    """Do what the form does with a file of this kind, and return what came of it."""
    from django.core.files.uploadedfile import SimpleUploadedFile

    from promptops.compare.forms.prompt_sets import PromptSetForm
    from promptops.prompts.actions import sets

    if kind == "zip":
        try:
            return f"{len(sets.read_zip(io.BytesIO(data)))} templates"
        except sets.BadSet as bad:
            return f"{len(bad.problems)} problems"
    fields = {"name": "x", "text": "", "separator": "blocks" if kind == "blocks.txt" else "lines"}
    form = PromptSetForm(fields, {"file": SimpleUploadedFile(f"x.{kind}", data)})
    form.is_valid()
    return f"{len(form.problems)} problems"


def main(name: str) -> None:
    """Print the figures of one case as JSON."""
    import django

    django.setup()
    kind, make = CASES[name]
    _read("zip" if kind == "zip" else kind, b"")  # imports what it needs
    data = make()
    before = _peak_mib()
    began = time.perf_counter()
    outcome = _read(kind, data)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": round(seconds, 2), "mib": round(_peak_mib() - before), "outcome": outcome}))


if __name__ == "__main__":
    main(sys.argv[1])
