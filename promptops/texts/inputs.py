"""Inputs from outside: the text of a box or a file as a list, and what is wrong with it, line by line.

Pure: whatever the bytes are, the answer is a list, problems in plain words, or `Unreadable`.
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

# What the column or the key with the inputs is called, the best name first.
COLUMNS = ("prompt", "input", "text")
DELIMITERS = (",", ";", "\t")
ROWS_COMPARED = 20
"""How many rows of a file without headings are looked at for what separates their cells."""
ROWS_LOOKED_AT = 200
"""How many rows are read for that, blank ones included."""
SEPARATOR = re.compile(r"\s*sep=([,;\t])[ ]*(?=\n|\Z)", re.IGNORECASE)
"""The line in which spreadsheet programs name the separator of the file."""

# Where reading stops. A set holds 2,000 inputs and a person corrects a few problems at a time; a file of 8 MiB may hold
# millions of either.
MAX_PROBLEMS = 200
MAX_FOUND = 20_000
"""Inputs, those that are there several times included."""
MAX_ROWS = 100_000
"""Rows of a table, those without an input included."""
MAX_JSON_LINE = 1024 * 1024
"""Characters: an input of 16,000 characters, each escaped, is 192,000."""


class Format(StrEnum):
    """How inputs are written down one after the other."""

    LINES = "lines"  # one per line
    BLOCKS = "blocks"  # a blank line between two, so that an input may have several lines
    JSONL = "jsonl"  # one JSON text, or object with such a key, per line
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
    """Enough has been read."""


class Unreadable(ValueError):
    """The whole text cannot be read; the message says why and what to do."""


@dataclass(frozen=True)
class Line:
    """One input, the line that it begins on, counted from 1, and the name of the file that it stands in, if any."""

    number: int
    text: str
    file: str = ""


@dataclass(frozen=True)
class Problem:
    """What is wrong on a line; line 0 means all of it."""

    line: int
    message: str
    file: str = ""

    def __str__(self) -> str:
        if not self.line:
            return self.message
        return f"{self.file}, line {self.line}: {self.message}" if self.file else f"Line {self.line}: {self.message}"


@dataclass
class Reading:
    """What was found; `source` says which column it was taken from, "" where there are none."""

    found: list[Line] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    source: str = ""
    file: str = ""

    def add(self, line: int, text: str) -> None:
        if len(self.found) == MAX_FOUND:
            self.stop(line, f"More than {MAX_FOUND:,} inputs; the rest was not read. Upload it in parts.")
        self.found.append(Line(line, text.strip(), self.file))

    def wrong(self, line: int, message: str) -> None:
        self.problems.append(Problem(line, message, self.file))
        if len(self.problems) == MAX_PROBLEMS:
            self.stop(line, f"These are {MAX_PROBLEMS} problems; the rest was not read. Correct these first.")

    def stop(self, line: int, message: str) -> NoReturn:
        """Add a last problem, and end the reading."""
        self.problems.append(Problem(line, message, self.file))
        raise _Stop


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
            f"Line {line}: the file is not UTF-8 there (byte {column} of the line). Save it as UTF-8 first."
        ) from None


def read(text: str, format: Format, column: str = "", *, file: str = "") -> Reading:
    """The inputs in `text`, as they stand there but for blank ends. Blank lines are no inputs. Problems name `file`.

    `column` names the column (CSV, TSV) or the key (JSON Lines) to take; "" takes the first of prompt, input and text,
    or else the first column. Line endings of any system are read as "\\n".
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    reading = Reading(file=file)
    with contextlib.suppress(_Stop):
        READERS[format](reading, text, column.strip())
    return reading


def write(inputs: Sequence[str], format: Format) -> str:
    """The inputs in a format that `simplest` allows (or JSONL); `read` makes the same inputs of it."""
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


def _lines(reading: Reading, text: str, column: str) -> None:
    for number, line in _numbered(text):
        reading.add(number, line)


def _blocks(reading: Reading, text: str, column: str) -> None:
    for number, block in _numbered(text, BLOCK):
        reading.add(number, block)


def _jsonl(reading: Reading, text: str, column: str) -> None:
    for number, line in _numbered(text):
        if len(line) > MAX_JSON_LINE:
            reading.wrong(number, f"The line is {len(line):,} characters; at most {MAX_JSON_LINE:,} are read.")
            continue
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
            reading.add(number, value)


def _csv(reading: Reading, text: str, column: str) -> None:
    if stated := SEPARATOR.match(text):
        blank = "\n" * text.count("\n", 0, stated.end())  # so that lines keep their numbers
        return _table(reading, blank + text[stated.end() :], column, delimiter=stated[1])
    return _table(reading, text, column, delimiter=_delimiter(text, column))


def _delimiter(text: str, column: str) -> str:
    """Return what separates the cells of a CSV file: a comma, or what spreadsheets write where a comma is decimal.

    A heading decides. Without one another character must split all rows alike, and the comma must not.
    """
    tables = {delimiter: _first_rows(text, delimiter) for delimiter in DELIMITERS}
    for delimiter, rows in tables.items():
        if rows and _column(rows[0], column)[1]:
            return delimiter
    widths = {delimiter: {len(row) for row in rows} for delimiter, rows in tables.items()}
    if len(widths[","]) > 1:
        return next((found for found in DELIMITERS if len(widths[found]) == 1 and widths[found] != {1}), ",")
    return ","


def _first_rows(text: str, delimiter: str) -> list[list[str]]:
    """Return the first rows that are not blank, up to one that cannot be read."""
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
            reading.stop(line, f"More than {MAX_ROWS:,} rows; the rest was not read. Upload it in parts.")
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
            reading.add(line, row[index])


def _column(first: list[str], column: str) -> tuple[int | None, str]:
    """Which column to take, and its heading if the first row is one; None when the column asked for is not there."""
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
"""Lines without a blank one between them. Possessive repetitions remember nothing to give back."""


def _numbered(text: str, part: re.Pattern[str] = LINE) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, or the blocks of such lines, with the number of their first line."""
    number, counted = 1, 0
    for match in part.finditer(text):
        start = text.rfind("\n", 0, match.start()) + 1
        number += text.count("\n", counted, start)
        counted = start
        yield number, text[start : match.end()]
