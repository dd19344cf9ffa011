"""The audit with a million entries: checking the chain, and the page with each filter and with searches.

Entries are made in bulk, with all triggers in place, and look like those of a busy year: 40 people, 300 templates, 200
versions of a 6,000-word prompt. Pages are asked for through the whole middleware, as a browser does.
"""

import random
import statistics
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from typing import Any

ENTRIES = 1_000_000
BULK = 5_000
LOADS = 10
ACTIONS = [  # action, kind of object, how often of a hundred
    ("template.published", "template", 30),
    ("template.rolled_back", "template", 5),
    ("template.described", "template", 8),
    ("provider.edited", "provider", 5),
    ("run.erased", "run", 10),
    ("user.signed_in", "user", 30),
    ("user.sign_in_failed", "user", 6),
    ("settings.changed", "", 4),
    ("user.role_changed", "user", 2),
]


def bench_audit(entries: int = ENTRIES) -> list[dict[str, Any]]:
    """Milliseconds for each page, seconds for the check of the whole chain."""
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from promptops.ledger import chain as audit_chain
    from promptops.people.models import User

    people = [User(username=f"person-{number}", name=f"Person {number}") for number in range(40)]
    User.objects.bulk_create(people)
    rare = User.objects.create(username="rare", name="Rare Visitor", role="viewer")
    User.objects.create(username="reader", name="Reader", role="administrator")
    fill(entries, people, rare)
    taken = Taken()
    with taken:
        verdict = audit_chain.verify()
    assert verdict.bad is None, verdict.bad
    return [taken.row(f"verify {verdict.head.seq:,} entries"), *pages(entries)]


def pages(entries: int) -> list[dict[str, Any]]:
    """The audit page, asked for in every way."""
    from django.test import Client

    from promptops.ledger import audit
    from promptops.people.models import User

    reader = User.objects.get(username="reader")
    rows = []
    client = Client()
    client.force_login(reader, backend="django.contrib.auth.backends.ModelBackend")
    middle = audit.AuditEntry.objects.get(seq=entries // 2).at
    day, month = middle.date(), (middle - timedelta(days=30)).date()
    for query in (
        "",
        f"before={entries // 2}",
        f"after={entries // 2}",
        "actor=person-7",
        "actor=rare",
        "actor=system:Command line",
        "action=template.published",
        "action=template",
        "action=secret_key.replaced",
        "action=run&actor=rare",
        "type=template",
        "type=onetimelink",
        "object=template-117",
        "type=template&object=template-117",
        "object=nowhere",
        f"start={day}",
        f"end={day}",
        f"start={month}&end={day}",
        "start=2199-01-01",
        "end=1999-01-01",
        f"start={day}&action=template&actor=person-7",
        "q=published template-117",
        "q=person 7 signed in",
        "q=rare",
        "q=words+that+nobody+wrote",
        f"q=rare&before={entries // 2}",
    ):
        rows.append(page(client, f"/audit/?{query}"))
    rows.append(page(client, f"/audit/{entries // 2}/"))
    return rows


def page(client: Any, path: str) -> dict[str, Any]:
    """Return how long a page takes, after a first time that does not count."""
    client.get(path)
    taken = Taken()
    for _ in range(LOADS):
        with taken:
            response = client.get(path)
        assert response.status_code == 200, path
    return taken.row(f"GET {path}")


class Taken:
    """Times by the clock and by the processor; on a busy machine only the second tells what the work costs."""

    def __init__(self) -> None:
        self.clock: list[float] = []
        self.processor: list[float] = []

    def __enter__(self) -> None:
        self.began = time.perf_counter(), time.process_time()

    def __exit__(self, *error: object) -> None:
        self.clock.append((time.perf_counter() - self.began[0]) * 1000)
        self.processor.append((time.process_time() - self.began[1]) * 1000)

    def row(self, what: str) -> dict[str, Any]:
        """Milliseconds."""
        found = statistics.median(self.clock), max(self.clock), statistics.median(self.processor)
        return {
            "what": what,
            **dict(zip(("p50_ms", "max_ms", "cpu_p50_ms"), (round(ms, 1) for ms in found), strict=True)),
        }


def fill(entries: int, people: list[Any], rare: Any) -> None:
    """Carry the chain on by so many entries, a year's worth up to now."""
    from django.db import connection, transaction
    from django.utils import timezone

    from promptops.ledger.models import AuditEntry, AuditHead

    fields = AuditEntry._meta.concrete_fields
    columns, places = ", ".join(field.column for field in fields), ", ".join(["%s"] * len(fields))
    insert = f"INSERT INTO {AuditEntry._meta.db_table} ({columns}) VALUES ({places})"
    made = _made(entries, people, rare, AuditHead.objects.get(), timezone.now() - timedelta(days=365))
    while bulk := list(islice(made, BULK)):
        rows = [
            [field.get_db_prep_save(getattr(entry, field.attname), connection) for field in fields] for entry in bulk
        ]
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.executemany(insert, rows)
            AuditHead.objects.update(seq=bulk[-1].seq, sha256=bulk[-1].sha256)
    if connection.vendor == "postgresql":  # what it does by itself a while later
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE promptops_auditentry")


def _made(entries: int, people: list[Any], rare: Any, head: Any, began: Any) -> Iterator[Any]:
    from promptops.ledger import audit
    from promptops.ledger.models import AuditEntry

    dice = random.Random(7)
    kinds = dice.choices(ACTIONS, [often for _, _, often in ACTIONS], k=entries)
    step = timedelta(days=365) / entries
    previous = head.sha256
    for number, (action, kind, _) in enumerate(kinds, start=1):
        person = rare if number % 200_000 == 1000 else dice.choice(people)
        failed = action == "user.sign_in_failed"
        after: dict[str, Any] | None = None
        if action.startswith("template."):
            name = f"template-{dice.randrange(300)}"
            after = {"version": number, "temperature": 0.7, "description": "For night scenes."}
            if number % max(2, entries // 200) == 1:
                after["body"] = " ".join(["word"] * 6000) + f" {number}"
        elif action == "user.role_changed":
            name, after = person.username, {"role": "editor"}
        else:
            name = {"run": f"run {number}", "provider": "groq", "user": person.username}.get(kind, "")
        entry = AuditEntry(
            seq=head.seq + number,
            at=began + number * step,
            action=action,
            actor=None if failed else person,
            actor_name="Somebody" if failed else person.name,
            address=f"192.0.2.{dice.randrange(250)}",
            object_type=kind,
            object_id=str(dice.randrange(300)) if kind else "",
            object_name=name,
            before={"temperature": 0.5} if after else None,
            after=after,
            note="shorter camera notes" if number % 7 == 0 else "",
            revision=number if action == "template.published" else None,
            previous_sha256=previous,
        )
        entry.sha256 = previous = audit.entry_sha256(entry)
        yield entry
