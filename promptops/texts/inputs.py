"""Reading inputs from a text box or a file as a list, with the problems of each line, and writing them as a file.

Pure: any bytes give a list, problems in plain words, or `Unreadable`. How many inputs a prompt set may hold is decided
in `compare`.
"""

import contextlib
import csv
import io
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import NoReturn

# Names of the column or key with the inputs, the preferred name first.
COLUMNS = ("prompt", "input", "text")
DELIMITERS = (",", ";", "\t")
ROWS_COMPARED = 20
"""Rows of a file without headings that are compared to find the separator."""
ROWS_LOOKED_AT = 200
"""Rows that are read for that, including blank ones."""
SEPARATOR = re.compile(r"\s*sep=([,;\t])[ ]*(?=\n|\Z)", re.IGNORECASE)
"""The line in which spreadsheet programs declare the separator of the file."""

# Limits of reading. A set holds 2,000 inputs, and a person corrects a few problems at a time. A file of 8 MiB may hold
# millions of either.
MAX_PROBLEMS = 200
MAX_FOUND = 20_000
"""Inputs, including repeated ones."""
MAX_ROWS = 100_000
"""Rows of a table, including rows without an input."""
MAX_JSON_LINE = 1024 * 1024
"""Characters: an input of 16,000 characters, each escaped, is 192,000."""


class Format(StrEnum):
    """The file formats of a list of inputs."""

    LINES = "lines"  # one per line
    BLOCKS = "blocks"  # separated by a blank line, so that an input may have several lines
    JSONL = "jsonl"  # one JSON string, or one object with such a key, per line
    CSV = "csv"  # with commas, semicolons or tabs
    TSV = "tsv"


SUFFIXES = {
    "csv": Format.CSV,
    "tsv": Format.TSV,
    "tab": Format.TSV,
    "jsonl": Format.JSONL,
    "ndjson": Format.JSONL,
}


class _Stop(Exception):
    """A limit of reading is reached."""


class Unreadable(ValueError):
    """The whole text is unreadable. The message says why and what to do."""


@dataclass(frozen=True)
class Line:
    """One input, its first line (counted from 1), and the name of its file, if any."""

    number: int
    text: str
    file: str = ""


@dataclass(frozen=True)
class Problem:
    """A problem on a line. Line 0 means the whole text."""

    line: int
    message: str
    file: str = ""

    def __str__(self) -> str:
        if not self.line:
            return self.message
        return f"{self.file}, line {self.line}: {self.message}" if self.file else f"Line {self.line}: {self.message}"


@dataclass
class Reading:
    """The inputs and problems of a text. `source` names the column of the inputs, "" in formats without columns."""

    lines: list[Line] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    source: str = ""
    file: str = ""

    def add(self, line: int, text: str) -> None:
        if len(self.lines) == MAX_FOUND:
            self.stop(line, f"More than {MAX_FOUND:,} inputs. The rest was not read. Upload the file in parts.")
        self.lines.append(Line(line, text.strip(), self.file))

    def wrong(self, line: int, message: str) -> None:
        self.problems.append(Problem(line, message, self.file))
        if len(self.problems) == MAX_PROBLEMS:
            self.stop(line, f"{MAX_PROBLEMS} problems found. The rest was not read. Correct these first.")

    def stop(self, line: int, message: str) -> NoReturn:
        """Add a last problem, and stop reading."""
        self.problems.append(Problem(line, message, self.file))
        raise _Stop


def decode(data: bytes) -> str:
    """Return the text of a file. Raises Unreadable with the line that is not UTF-8."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable("The file is UTF-16. Save it as UTF-8 and upload it again.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        raise Unreadable(
            f"Line {line}: byte {column} of the line is not UTF-8. Save the file as UTF-8 first."
        ) from None


def read(text: str, format: Format, column: str = "", *, file: str = "") -> Reading:
    """Read the inputs in `text` without blank ends. Blank lines are ignored. Problems name `file`.

    `column` is the column (CSV, TSV) or the key (JSON Lines) of the inputs; "" means the first of prompt, input and
    text, or else the first column. Line endings of any system are read as "\\n".
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    reading = Reading(file=file)
    with contextlib.suppress(_Stop):
        READERS[format](reading, text, column.strip())
    return reading


def write(inputs: Sequence[str], format: Format) -> str:
    """Write the inputs in a format that `simplest` allows (or JSONL). `read` returns the same inputs."""
    if format is Format.JSONL:
        return "".join(json.dumps({"prompt": text}, ensure_ascii=False) + "\n" for text in inputs)
    return ("\n\n" if format is Format.BLOCKS else "\n").join(inputs) + "\n" if inputs else ""


def simplest(inputs: Iterable[str]) -> Format:
    """Return the simplest format for these inputs: LINES, BLOCKS, or JSONL for inputs with blank lines."""
    format = Format.LINES
    for text in inputs:
        if "\n" in text:
            format = Format.BLOCKS
            if any(not line.strip() for line in text.split("\n")):
                return Format.JSONL
    return format


def _lines(reading: Reading, text: str, column: str) -> None:
    for number, line in _numbered(text):
        reading.add(number, line)


def _blocks(reading: Reading, text: str, column: str) -> None:
    for number, block in _numbered(text, BLOCK):
        reading.add(number, block)


def _jsonl(reading: Reading, text: str, column: str) -> None:
    for number, line in _numbered(text):
        if len(line) > MAX_JSON_LINE:
            reading.wrong(number, f"The line has {len(line):,} characters. At most {MAX_JSON_LINE:,} are allowed.")
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            reading.wrong(number, f"This is not JSON ({error.msg}, at character {error.colno}).")
            continue
        except (ValueError, RecursionError):
            reading.wrong(number, "This JSON is unreadable: a number is too long, or brackets are nested too deeply.")
            continue
        if isinstance(value, dict):
            key = column or next((name for name in COLUMNS if name in value), "")
            if key not in value:
                wanted = f"the key “{column}”" if column else "a key named prompt, input or text"
                reading.wrong(number, f"The object does not have {wanted}.")
                continue
            value = value[key]
        if not isinstance(value, str):
            reading.wrong(number, "The line must be a text in quotes, or an object with one.")
        elif not value.strip():
            reading.wrong(number, "The input is blank.")
        else:
            reading.add(number, value)


def _csv(reading: Reading, text: str, column: str) -> None:
    if stated := SEPARATOR.match(text):
        blank = "\n" * text.count("\n", 0, stated.end())  # keeps the numbers of the lines
        return _table(reading, blank + text[stated.end() :], column, delimiter=stated[1])
    return _table(reading, text, column, delimiter=_delimiter(text, column))


def _delimiter(text: str, column: str) -> str:
    """Return the separator of a CSV file: a comma, or the separator of spreadsheets that use a decimal comma.

    A known heading decides. Without one, another separator must give all rows the same width, and the comma must not.
    """
    tables = {delimiter: _first_rows(text, delimiter) for delimiter in DELIMITERS}
    for delimiter, rows in tables.items():
        if rows and _column(rows[0], column)[1]:
            return delimiter
    widths = {delimiter: {len(row) for row in rows} for delimiter, rows in tables.items()}
    if len(widths[","]) > 1:
        return next((each for each in DELIMITERS if len(widths[each]) == 1 and widths[each] != {1}), ",")
    return ","


def _first_rows(text: str, delimiter: str) -> list[list[str]]:
    """Return the first rows that are not blank, up to the first unreadable row."""
    rows: list[list[str]] = []
    with suppress(csv.Error):
        table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        for row in itertools.islice(table, ROWS_LOOKED_AT):
            if any(cell.strip() for cell in row):
                rows.append(row)
            if len(rows) == ROWS_COMPARED:
                break
    return rows


def _table(reading: Reading, text: str, column: str, *, delimiter: str) -> None:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    index: int | None = None
    width = 0
    for row_number in itertools.count(1):
        line = rows.line_num + 1
        if row_number > MAX_ROWS:
            reading.stop(line, f"More than {MAX_ROWS:,} rows. The rest was not read. Upload the file in parts.")
        try:
            row = next(rows)
        except StopIteration:
            break
        except csv.Error as error:
            # After an open quote, the start of the next row is unknown.
            reading.wrong(line, f"The row that starts here is unreadable ({error}). Check its quotes.")
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
            reading.wrong(line, f"The row has {len(row)} of {width} columns. The column with the input is missing.")
        elif not row[index].strip():
            reading.wrong(line, "The input is blank.")
        else:
            reading.add(line, row[index])


def _column(first: list[str], column: str) -> tuple[int | None, str]:
    """Return the index of the column (None: `column` is missing), and its heading if `first` has headings."""
    names = [cell.strip() for cell in first]
    folded = [name.casefold() for name in names]
    for wanted in (column.casefold(),) if column else COLUMNS:
        if wanted in folded:
            index = folded.index(wanted)
            return index, names[index]
    return (None, "") if column else (0, "")


READERS: dict[Format, Callable[[Reading, str, str], None]] = {
    Format.LINES: _lines,
    Format.BLOCKS: _blocks,
    Format.JSONL: _jsonl,
    Format.CSV: _csv,
    Format.TSV: partial(_table, delimiter="\t"),
}


LINE = re.compile(r"\S[^\n]*")
BLOCK = re.compile(r"\S[^\n]*+(?:\n[^\S\n]*+\S[^\n]*+)*+")
"""Lines without a blank line between them. The repetitions are possessive, so they never backtrack."""


def _numbered(text: str, part: re.Pattern[str] = LINE) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, or blocks of such lines, with the number of their first line."""
    number, counted = 1, 0
    for match in part.finditer(text):
        start = text.rfind("\n", 0, match.start()) + 1
        number += text.count("\n", counted, start)
        counted = start
        yield number, text[start : match.end()]
