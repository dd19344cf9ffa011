"""Fixtures of the tests of the audit."""

import pytest

from promptops.ledger import audit


@pytest.fixture
def chain(db, actor):
    """Record five entries with values of every kind."""
    for number in range(1, 6):
        audit.record(
            "template.described",
            by=actor,
            object_name=f"template {number}",
            before={"text": "ж 🦊", "temperature": 0.7, "tokens": None},
            after={"order": ["a", "b"], "on": True},
            note="why",
            revision=number,
        )
