"""Many rows in one step of the database."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.db import connection
from django.db.models import DateTimeField, QuerySet


def rows_at_once(queryset: QuerySet[Any, Any], *names: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query as tuples of these columns of its model, in order.

    SQLite's driver gives up Python's global lock for each row that it reads. Beside a busy event loop it then waits for
    the lock thousands of times. So SQLite hands over all rows as one JSON text. Numbers keep 15 digits there.
    """
    if connection.vendor != "sqlite":
        return list(queryset.values_list(*names))
    fields = [queryset.model._meta.get_field(name) for name in names]
    inner, params = queryset.values(*names).query.sql_with_params()
    columns = ", ".join(f'"{field.column}"' for field in fields)
    with connection.cursor() as cursor:
        # The query below is the queryset's own, with its parameters.
        cursor.execute(f"SELECT json_group_array(json_array({columns})) FROM ({inner})", params)  # noqa: S608
        (text,) = cursor.fetchone()
    moments = [place for place, field in enumerate(fields) if isinstance(field, DateTimeField)]
    return list(_parsed(text, moments))


def _parsed(text: str, moments: list[int]) -> Iterator[tuple[Any, ...]]:
    for row in json.loads(text):
        for place in moments:
            row[place] = datetime.fromisoformat(row[place]).replace(tzinfo=UTC)  # as Django stores it
        yield tuple(row)
