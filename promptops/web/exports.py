"""Files that are sent while they are read: however many rows there are, only a few hundred are in memory."""

import csv
import io
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import QuerySet

from promptops.ledger import audit
from promptops.ledger.models import AuditEntry

COLUMNS = ("seq", "at", "sentence", *audit.HASHED[2:], "sha256")
# What a spreadsheet takes for the beginning of a formula, in the wide letters of some keyboards too.
FORMULA = tuple("=+-@\t\r\n＝＋－＠")
# In some countries a semicolon separates cells: then quotes and commas count for nothing, and a line ends the row.
HIDDEN = re.compile(r"([;\t\r\n]\s*)(?=[=+\-@＝＋－＠])")


@dataclass(frozen=True)
class Format:
    """How rows are written: the name is also the ending of the file's name; `key` numbers them in their order."""

    name: str
    content_type: str
    begin: str
    write: Callable[[list[Any]], str]
    key: str = "seq"


async def stream(rows: QuerySet[Any], format: Format) -> AsyncIterator[bytes]:
    """The file in parts, oldest row first. Each part is a short query in the request's thread."""
    yield format.begin.encode()
    last: int | None = -1
    while last is not None:
        last, part = await sync_to_async(_part)(rows, format, last)
        if last is not None:
            yield part


def _part(rows: QuerySet[Any], format: Format, last: int) -> tuple[int | None, bytes]:
    part = list(rows.filter(**{f"{format.key}__gt": last}).order_by(format.key)[: audit.BATCH])
    return (getattr(part[-1], format.key) if part else None), format.write(part).encode(errors="replace")


def _told(entry: AuditEntry) -> dict[str, Any]:
    return audit.hashed(getattr(entry, name) for name in audit.FIELDS) | {"sha256": entry.sha256}


def _jsonl(entries: list[AuditEntry]) -> str:
    """One object a line: what the hash covers, as canonical JSON, and the hash."""
    return "".join(f"{audit.canonical_json(_told(entry))}\n" for entry in entries)


def _csv(entries: list[AuditEntry]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    for entry in entries:
        told = _told(entry) | {"sentence": audit.sentence(entry)}
        writer.writerow(cell(told[name]) for name in COLUMNS)
    return text.getvalue()


def cell(value: Any) -> str | int | float:
    """A cell that no spreadsheet takes for a formula: an apostrophe stands before what could begin one."""
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    text = HIDDEN.sub(r"\1'", value if isinstance(value, str) else audit.canonical_json(value))
    return f"'{text}" if text.startswith(FORMULA) or text.lstrip().startswith(FORMULA) else text


FORMATS = {
    "jsonl": Format("jsonl", "application/jsonl; charset=utf-8", "", _jsonl),
    "csv": Format("csv", "text/csv; charset=utf-8", ",".join(COLUMNS) + "\r\n", _csv),
}


def tabular(name: str, columns: tuple[str, ...], told: Callable[[Any], dict[str, Any]]) -> Format:
    """The format of that name for rows that `told` makes values of, by column; their key is `pk`."""
    if name == "jsonl":
        lines = lambda rows: "".join(f"{audit.canonical_json(told(row))}\n" for row in rows)  # noqa: E731
        return Format(name, FORMATS[name].content_type, "", lines, "pk")

    def write(rows: list[Any]) -> str:
        text = io.StringIO()
        writer = csv.writer(text)
        for values in map(told, rows):
            writer.writerow(cell(values[column]) for column in columns)
        return text.getvalue()

    return Format(name, FORMATS[name].content_type, ",".join(columns) + "\r\n", write, "pk")
