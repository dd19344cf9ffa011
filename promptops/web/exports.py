"""Files that are sent while their rows are read: only a few hundred rows are in memory at once."""

import csv
import io
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import QuerySet

from promptops.ledger import audit, sentences
from promptops.ledger.models import AuditEntry

COLUMNS = ("seq", "at", "sentence", *audit.HASHED[2:], "sha256")
# A spreadsheet takes these for the beginning of a formula; some keyboards type the fullwidth ones.
FORMULA = tuple("=+-@\t\r\n＝＋－＠")
# Where a semicolon separates cells, quotes and commas mean nothing and a line break ends the row.
HIDDEN = re.compile(r"([;\t\r\n]\s*)(?=[=+\-@＝＋－＠])")


@dataclass(frozen=True)
class Format:
    """A way to write rows. `name` is also the extension of the file; `key` is the number that orders the rows."""

    name: str
    content_type: str
    begin: str
    write: Callable[[list[Any]], str]
    key: str = "seq"


async def stream(rows: QuerySet[Any], format: Format) -> AsyncIterator[bytes]:
    """Yield the file in parts, oldest row first. Each part is a short query in the request's thread."""
    yield format.begin.encode()
    last: int | None = -1
    while last is not None:
        last, part = await sync_to_async(_part)(rows, format, last)
        if last is not None:
            yield part


def _part(rows: QuerySet[Any], format: Format, last: int) -> tuple[int | None, bytes]:
    part = list(rows.filter(**{f"{format.key}__gt": last}).order_by(format.key)[: audit.BATCH])
    return (getattr(part[-1], format.key) if part else None), format.write(part).encode(errors="replace")


def _jsonl(entries: list[AuditEntry]) -> str:
    """Return one object a line: the values that the hash covers, as canonical JSON, and the hash."""
    return "".join(f"{audit.canonical_json(audit.entry_values(entry))}\n" for entry in entries)


def _csv(entries: list[AuditEntry]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    for entry in entries:
        values = audit.entry_values(entry) | {"sentence": sentences.sentence(entry)}
        writer.writerow(cell(values.get(name)) for name in COLUMNS)
    return text.getvalue()


def cell(value: Any) -> str | int | float:
    """Return a cell that no spreadsheet takes for a formula: an apostrophe precedes text that could begin one."""
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


def tabular(name: str, columns: tuple[str, ...], values_of: Callable[[Any], dict[str, Any]]) -> Format:
    """Return the format `name` for rows whose values, by column, `values_of` returns; their key is `pk`."""
    if name == "jsonl":
        lines = lambda rows: "".join(f"{audit.canonical_json(values_of(row))}\n" for row in rows)  # noqa: E731
        return Format(name, FORMATS[name].content_type, "", lines, "pk")

    def write(rows: list[Any]) -> str:
        text = io.StringIO()
        writer = csv.writer(text)
        for values in map(values_of, rows):
            writer.writerow(cell(values[column]) for column in columns)
        return text.getvalue()

    return Format(name, FORMATS[name].content_type, ",".join(columns) + "\r\n", write, "pk")
