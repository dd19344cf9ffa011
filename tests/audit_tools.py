"""Manipulations of the audit that PromptOps itself refuses, for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from promptops.ledger import audit
from promptops.ledger import chain as audit_chain
from promptops.ledger.models import AuditEntry, AuditHead, audit_triggers


@contextmanager
def without_triggers() -> Iterator[None]:
    """Drop the audit's triggers for a while, as only the owner of the database can."""
    settle()
    audit_triggers.remove(connection)
    try:
        yield
    finally:
        settle()
        audit_triggers.install(connection)


def tamper(seq: int, /, **changes: Any) -> None:
    """Change an entry without its hash."""
    with without_triggers():
        assert AuditEntry.objects.filter(seq=seq).update(**changes) == 1


def reseal(seq: int, /, **changes: Any) -> None:
    """Change an entry and give it a matching hash."""
    if changes:
        tamper(seq, **changes)
    tamper(seq, sha256=audit.entry_sha256(AuditEntry.objects.get(seq=seq)))


def take_out(*seqs: int) -> None:
    """Delete entries."""
    with without_triggers(), connection.cursor() as cursor:
        for seq in seqs:
            cursor.execute("DELETE FROM promptops_auditentry WHERE seq = %s", [seq])


def put_in(of: int, /, **changes: Any) -> None:
    """Insert a copy of an entry, with changes."""
    entry = AuditEntry.objects.get(seq=of)
    for name, value in changes.items():
        setattr(entry, name, value)
    entry._state.adding = True
    entry.save(force_insert=True)


def set_head(link: audit_chain.Link) -> None:
    """Let the head name another entry."""
    with without_triggers():
        AuditHead.objects.update(seq=link.seq, sha256=link.sha256)


def rewrite(first: int, /, **changes: Any) -> None:
    """Change an entry and recompute all later hashes and the head, so that the chain is intact again."""
    reseal(first, **changes)
    link = audit_chain.Link(first, AuditEntry.objects.get(seq=first).sha256)
    for seq in AuditEntry.objects.filter(seq__gt=first).order_by("seq").values_list("seq", flat=True):
        reseal(seq, previous_sha256=link.sha256)
        link = audit_chain.Link(seq, AuditEntry.objects.get(seq=seq).sha256)
    set_head(link)


def forget_everything() -> None:
    """Empty the audit."""
    with without_triggers():
        AuditEntry.objects.all().delete()
        AuditHead.objects.update(seq=0, sha256=audit.GENESIS)


def settle() -> None:
    """Run the checks of foreign keys that wait for the end of the transaction: PostgreSQL changes no table before."""
    if connection.vendor == "postgresql" and connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
