"""Inputs from outside: the text of a box or a file as a list, and what is wrong with it, line by line.

Pure: whatever the bytes are, the answer is a list, problems in plain words, or `Unreadable`.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

# What the column or the key with the inputs is called, the best name first.
COLUMNS = ("prompt", "input", "text")


class Format(StrEnum):
    """How inputs are written down one after the other."""

    LINES = "lines"  # one per line
    BLOCKS = "blocks"  # a blank line between two, so that an input may have several lines
    JSONL = "jsonl"  # one JSON text, or object with such a key, per line
    CSV = "csv"
    TSV = "tsv"


SUFFIXES = {
    "csv": Format.CSV,
    "tsv": Format.TSV,
    "tab": Format.TSV,
    "jsonl": Format.JSONL,
    "ndjson": Format.JSONL,
}


class Unreadable(ValueError):
    """The whole text cannot be read; the message says why and what to do."""


@dataclass(frozen=True)
class Line:
    """One input and the line that it begins on, counted from 1."""

    number: int
    text: str


@dataclass(frozen=True)
class Problem:
    """What is wrong on a line; line 0 means all of it."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"Line {self.line}: {self.message}" if self.line else self.message


@dataclass
class Reading:
    """What was found; `source` says which column it was taken from, "" where there are none."""

    found: list[Line] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    source: str = ""

    def wrong(self, line: int, message: str) -> None:
        self.problems.append(Problem(line, message))


def decode(data: bytes) -> str:
    """The text of a file. Raises Unreadable with the line for what is not UTF-8."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable("The file is UTF-16. Save it as UTF-8 and upload it again.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        raise Unreadable(
            f"Line {line}: the file is not UTF-8 there (byte {column} of the line). Save it as UTF-8 and upload it again."
        ) from None


def read(text: str, format: Format, column: str = "") -> Reading:
    """The inputs in `text`, as they stand there but for blank ends. Blank lines are no inputs.

    `column` names the column (CSV, TSV) or the key (JSON Lines) to take; "" takes the first of prompt, input and text,
    or else the first column. Line endings of any system are read as "\\n".
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return READERS[format](text, column.strip())


def write(inputs: Sequence[str], format: Format) -> str:
    """The inputs as LINES, BLOCKS or JSONL: what `read` makes the same inputs of, where `simplest` allows the format."""
    if format is Format.JSONL:
        return "".join(json.dumps({"prompt": text}, ensure_ascii=False) + "\n" for text in inputs)
    return ("\n\n" if format is Format.BLOCKS else "\n").join(inputs) + "\n" if inputs else ""


def simplest(inputs: Iterable[str]) -> Format:
    """The plainest format that can hold these inputs: LINES, BLOCKS, or JSONL for inputs with blank lines in them."""
    found = Format.LINES
    for text in inputs:
        if "\n" in text:
            found = Format.BLOCKS
            if any(not line.strip() for line in text.split("\n")):
                return Format.JSONL
    return found


def _lines(text: str, column: str) -> Reading:
    return Reading([Line(number, line.strip()) for number, line in _numbered(text)])


def _blocks(text: str, column: str) -> Reading:
    blocks: list[list[tuple[int, str]]] = []
    for number, line in _numbered(text):
        if not blocks or blocks[-1][-1][0] != number - 1:
            blocks.append([])
        blocks[-1].append((number, line))
    return Reading([Line(block[0][0], "\n".join(line for _, line in block).strip()) for block in blocks])


def _jsonl(text: str, column: str) -> Reading:
    reading = Reading()
    for number, line in _numbered(text):
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            reading.wrong(number, f"This is not JSON ({error.msg}, at character {error.colno}).")
            continue
        except (ValueError, RecursionError):
            reading.wrong(number, "This is not JSON that can be read (a number too long, or brackets too deep).")
            continue
        if isinstance(value, dict):
            key = column or next((name for name in COLUMNS if name in value), "")
            if key not in value:
                wanted = f"the key “{column}”" if column else "a key named prompt, input or text"
                reading.wrong(number, f"The object has not {wanted}.")
                continue
            value = value[key]
        if not isinstance(value, str):
            reading.wrong(number, "A text in quotes is needed here, or an object with one.")
        elif not value.strip():
            reading.wrong(number, "The text is blank.")
        else:
            reading.found.append(Line(number, value.replace("\r\n", "\n").replace("\r", "\n").strip()))
    return reading


def _table(text: str, column: str, *, delimiter: str) -> Reading:
    reading = Reading()
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    index: int | None = None
    width = 0
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            break
        except csv.Error as error:
            # Where a quote is open nobody knows where the next row begins.
            reading.wrong(line, f"The row that begins here cannot be read ({error}). Check its quotes.")
            break
        if not any(cell.strip() for cell in row):
            continue
        if index is None:
            index, heading = _column(row, column)
            width = len(row)
            if index is None:
                names = ", ".join(f"“{cell.strip()[:40]}”" for cell in row[:10])
                reading.wrong(line, f"No column is called “{column}”. The columns are {names}.")
                break
            reading.source = f"the column “{heading}”" if heading else "the first column" if width > 1 else ""
            if heading:
                continue
        if index >= len(row):
            reading.wrong(line, f"The row has {len(row)} of {width} columns; the one with the input is missing.")
        elif not row[index].strip():
            reading.wrong(line, "The input is blank.")
        else:
            reading.found.append(Line(line, row[index].strip()))
    return reading


def _column(first: list[str], column: str) -> tuple[int | None, str]:
    """Which column to take, and its heading if the first row is one; None when the column asked for is not there."""
    names = [cell.strip() for cell in first]
    folded = [name.casefold() for name in names]
    for wanted in (column.casefold(),) if column else COLUMNS:
        if wanted in folded:
            index = folded.index(wanted)
            return index, names[index]
    return (None, "") if column else (0, "")


def _csv(text: str, column: str) -> Reading:
    return _table(text, column, delimiter=",")


def _tsv(text: str, column: str) -> Reading:
    return _table(text, column, delimiter="\t")


READERS: dict[Format, Callable[[str, str], Reading]] = {
    Format.LINES: _lines,
    Format.BLOCKS: _blocks,
    Format.JSONL: _jsonl,
    Format.CSV: _csv,
    Format.TSV: _tsv,
}


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers."""
    return ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())
