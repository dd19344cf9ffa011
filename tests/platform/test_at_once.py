"""Many rows in one step of the database."""

from datetime import UTC, datetime

import pytest

from promptops.platform.at_once import rows_at_once
from promptops.runs.models import Run

pytestmark = pytest.mark.django_db

NAMES = ("at", "operation", "status", "fallback_used", "latency_ms", "cost", "user_id", "error")


@pytest.mark.parametrize("count", [0, 1, 250])
def test_the_rows_are_those_of_the_query(count, editor):
    Run.objects.bulk_create(
        Run(
            at=datetime(2026, 3, 29, 1, 59, 59, number * 4_000, UTC),
            source="preview",
            operation=f'o"{number % 3}',
            status="succeeded",
            fallback_used=number % 2 == 0,
            latency_ms=number / 7,
            cost=None if number % 5 else number / 3,
            user=editor if number % 4 else None,
            error="狐\n\\ '\U0001f98a",
            temperature=0.7,
            max_tokens=256,
            revision=1,
        )
        for number in range(count)
    )
    query = Run.objects.filter(operation__in=['o"1', 'o"2'], latency_ms__gte=0).order_by("-at")
    assert rows_at_once(query, *NAMES) == [
        (*row[:4], pytest.approx(row[4], rel=1e-14), pytest.approx(row[5], rel=1e-14) if row[5] else row[5], *row[6:])
        for row in query.values_list(*NAMES)
    ]
    assert rows_at_once(query[:2], "operation") == list(query.values_list("operation")[:2])
