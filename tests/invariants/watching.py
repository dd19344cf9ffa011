"""Watching which tables are written to, and in which transaction."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from promptops import models as tables
from promptops.compare.models import PromptSet
from promptops.ledger.models import AuditEntry, LiveConfiguration
from promptops.people.models import OneTimeLink, User
from promptops.prompts.models import Template, Variable, Version
from promptops.providers.models import Provider

PROTECTED = {
    model._meta.db_table
    for model in (
        Template,
        Version,
        tables.Release,
        LiveConfiguration,
        Provider,
        PromptSet,
        User,
        OneTimeLink,
        tables.Identity,
        tables.SecondStep,
        tables.RecoveryCode,
        tables.Token,
        Variable,
        tables.Operation,
        tables.Sample,
        tables.SharedDraft,
        tables.ReleaseRequest,
        tables.Comparison,
        tables.SafetySettings,
        tables.SafetyTerm,
        tables.SafetyModelVersion,
        tables.SafetyExample,
        tables.LearnedAdaptation,
        tables.Server,
        tables.Lever,
        tables.Destination,
        tables.AlertRules,
    )
}
AUDIT = AuditEntry._meta.db_table

WRITE = re.compile(r"""\s*(?:INSERT(?:\s+OR\s+\w+)?\s+INTO|UPDATE|DELETE\s+FROM|REPLACE\s+INTO)\s+["`]?(\w+)""", re.I)
SAVEPOINT = re.compile(r"""\s*(RELEASE\s+SAVEPOINT|ROLLBACK\s+TO\s+SAVEPOINT|SAVEPOINT)\s+["`]?(\w+)""", re.I)


@dataclass
class Watch:
    """The tables written to, by transaction. In a test, an action's is the outermost savepoint."""

    transactions: list[list[str]] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        result = execute(sql, params, many, context)
        if match := SAVEPOINT.match(sql):
            self._savepoint(match[1].upper(), match[2])
        elif match := WRITE.match(sql):
            (self.transactions[-1] if self._open else self.outside).append(match[1])
        return result

    def _savepoint(self, verb: str, name: str) -> None:
        if verb == "SAVEPOINT":
            if not self._open:
                self.transactions.append([])
            self._open.append(name)
        elif verb.startswith("RELEASE"):
            del self._open[self._open.index(name) :]

    @property
    def wrote(self) -> set[str]:
        """Return all tables that were written to."""
        return {table for tables in [*self.transactions, self.outside] for table in tables}

    @property
    def unrecorded(self) -> set[str]:
        """Return the protected tables that were written to without an entry in the same transaction."""
        silent = [table for tables in self.transactions if AUDIT not in tables for table in tables]
        return PROTECTED & {*silent, *self.outside}


@contextmanager
def watched() -> Iterator[Watch]:
    """Watch the statements of the body."""
    watch = Watch()
    with connection.execute_wrapper(watch):
        yield watch
