"""Rows into a table as fast as the database takes them: COPY on PostgreSQL, prepared inserts on SQLite."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

BULK = 20_000


def insert(model: Any, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Insert rows of the named columns (attnames), the fields' defaults in all others. Returns how many there were.

    Values are dates, numbers, texts, None, ids, and lists or dicts for JSON. The caller holds the transaction.
    """
    from django.db import connection

    fields = [
        field for field in model._meta.concrete_fields if not (field.primary_key and field.attname not in columns)
    ]
    others = [field for field in fields if field.attname not in columns]
    names = [model._meta.get_field(name).column for name in columns] + [field.column for field in others]
    defaults = [_stored(field.get_default(), connection.vendor) for field in others]
    prepared = ([*(_stored(value, connection.vendor) for value in row), *defaults] for row in rows)
    table, quoted = model._meta.db_table, ", ".join(f'"{name}"' for name in names)
    count = 0
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.cursor.copy(f"COPY {table} ({quoted}) FROM STDIN") as copy:
                for row in prepared:
                    copy.write_row(row)
                    count += 1
        else:
            statement = f"INSERT INTO {table} ({quoted}) VALUES ({', '.join('?' * len(names))})"
            # The cursor below Django's, which would rewrite the statement for every bulk.
            while bulk := list(islice(prepared, BULK)):
                connection.connection.executemany(statement, bulk)
                count += len(bulk)
    return count


def count(*models: Any) -> None:
    """Set the counters of ids behind the rows."""
    from django.core.management.color import no_style
    from django.db import connection

    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), models):
            cursor.execute(statement)


def settle(*models: Any) -> None:
    """Let PostgreSQL look at the tables, as it does by itself a while later."""
    from django.db import connection

    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for model in models:
                cursor.execute(f"VACUUM ANALYZE {model._meta.db_table}")


def _stored(value: Any, vendor: str) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value)
    if isinstance(value, UUID) and vendor == "sqlite":
        return value.hex
    if isinstance(value, datetime) and vendor == "sqlite":
        return value.replace(tzinfo=None).isoformat(" ", "microseconds")
    return value
