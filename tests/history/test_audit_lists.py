"""The list of the audit by its indexes shows the entries that reading every entry would.

Also on PostgreSQL (tests/services/test_postgresql.py).
"""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import transaction

from promptops.history.queries.audit import AuditFilters, listed, narrowed
from promptops.ledger import audit
from promptops.ledger.audit import COMMAND_LINE, SYSTEM, Actor
from promptops.ledger.models import AuditEntry
from promptops.people.models import User
from promptops.platform import narrowing

pytestmark = pytest.mark.django_db
BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
COUNT, PAGE = 90, 5
RUNS = ("run.erased", "run.expired")

MEANINGS: dict[str, tuple[dict[str, Any], Callable[[AuditEntry], bool]]] = {
    "nothing": ({}, lambda entry: True),
    "person": ({"actor": "ada"}, lambda entry: entry.actor is not None and entry.actor.username == "ada"),
    "system": ({"system": "Command line"}, lambda entry: entry.actor is None and entry.actor_name == "Command line"),
    "action": ({"actions": ("run.erased",)}, lambda entry: entry.action == "run.erased"),
    "noun": ({"actions": RUNS}, lambda entry: entry.action in RUNS),
    "unused": ({"actions": ("secret_key.replaced", "backup.made")}, lambda entry: False),
    "kind": ({"object_type": "user"}, lambda entry: entry.object_type == "user"),
    "from": ({"start": BEGAN + timedelta(hours=30)}, lambda entry: entry.at >= BEGAN + timedelta(hours=30)),
    "to": ({"end": BEGAN + timedelta(hours=60)}, lambda entry: entry.at < BEGAN + timedelta(hours=60)),
    "after all": ({"start": BEGAN + timedelta(days=99)}, lambda entry: False),
}
MIXES = [
    *([name] for name in MEANINGS),
    ["person", "noun"],
    ["noun", "kind"],
    ["person", "action", "kind"],
    ["system", "noun", "to"],
    ["from", "to"],
    ["noun", "from", "to"],
    ["unused", "person"],
]


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> list[AuditEntry]:
    monkeypatch.setattr(narrowing, "PAGE_SIZE", PAGE)
    monkeypatch.setattr(narrowing, "MOST", 8)
    dice = random.Random(3)
    ada, bob = (User.objects.create(username=name, name=name, role="editor") for name in ("ada", "bob"))
    actors = [Actor.person(ada), *[Actor.person(bob)] * 4, SYSTEM, COMMAND_LINE]
    for number in range(COUNT):
        at = BEGAN + timedelta(hours=number)
        action = dice.choice((*RUNS, "user.signed_in", "user.signed_in", "settings.changed"))
        with patch("django.utils.timezone.now", return_value=at), transaction.atomic():
            audit.record(action, by=dice.choice(actors), object=ada if action.startswith("user") else None)
    return list(AuditEntry.objects.order_by("-seq"))


def test_all_pages_together_are_the_entries_that_match(entries: list[AuditEntry]) -> None:
    for names in MIXES:
        wanted = [entry.seq for entry in entries if all(MEANINGS[name][1](entry) for name in names)]
        filters = filters_of(names)
        assert sorted(listed(filters).values_list("seq", flat=True), reverse=True) == wanted, names
        found, page = [], narrowed(filters).page()
        for _ in range(COUNT):
            found += [entry.seq for entry in page.rows]
            if page.older is None:
                break
            page = narrowed(filters).page(before=page.older)
        assert found == wanted, names
        since = entries[6].seq
        arrived = narrowed(filters).since(since).values_list("seq", flat=True)
        assert sorted(arrived, reverse=True) == [seq for seq in wanted if seq > since], names


def filters_of(names: list[str]) -> AuditFilters:
    chosen: dict[str, Any] = {}
    for name in names:
        chosen |= MEANINGS[name][0]
    if "actor" in chosen:
        chosen["actor"] = User.objects.get(username=chosen["actor"])
    return AuditFilters(**chosen)
