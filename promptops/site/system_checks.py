"""System checks of the audit's protection and of provider keys.

They run at each start and with `manage.py check --database default`.
"""

from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import connections
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from promptops.engine.providers.key_variables import SETTING
from promptops.ledger.models import audit_triggers
from promptops.providers.key_variables import problem_of
from promptops.providers.models import Provider


@register(Tags.database)
def audit_is_protected(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn of missing triggers and of rows that SQLite numbers twice, once the migrations for these are applied."""
    problems: list[CheckMessage] = []
    for alias in databases or []:
        connection = connections[alias]
        applied = {name for app, name in MigrationRecorder(connection).applied_migrations() if app == "promptops"}
        hardened = "0030_audit_row_number" in applied
        if hardened and not audit_triggers.is_keyed_by_number(connection):
            problems.append(
                Warning(
                    "The audit can be changed: its table was rebuilt, and seq is no longer SQLite's rowid.",
                    hint=f"Find out who rebuilt it, check the entries with `{settings.COMMAND} audit_verify --pin …`, "
                    "and restore the table from a backup.",
                    id="promptops.W002",
                )
            )
        if not any(name.endswith("_audit_triggers") for name in applied):
            continue
        if missing := audit_triggers.missing(connection, always=hardened):
            problems.append(
                Warning(
                    f"The audit can be changed: the database's triggers that refuse it are missing "
                    f"({', '.join(missing)}).",
                    hint="Find out who removed them, check the entries with "
                    f"`{settings.COMMAND} audit_verify --pin …`, and restore the triggers with "
                    f"`{settings.COMMAND} audit_protect`.",
                    id="promptops.W001",
                )
            )
    return problems


@register(Tags.database)
def keys_are_sent(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn of providers whose key variable may not be sent to their address, and say what to do."""
    problems: list[CheckMessage] = []
    for alias in databases or []:
        applied = {
            name for app, name in MigrationRecorder(connections[alias]).applied_migrations() if app == "promptops"
        }
        migrations = import_module(MigrationLoader.migrations_module("promptops")[0] or "")
        if not {module.name for module in iter_modules(migrations.__path__)} <= applied:
            continue  # the tables are those of an older version
        for provider in Provider.objects.using(alias):
            if problem := problem_of(provider):
                problems.append(
                    Warning(
                        f"The provider {provider.name} gets no key. {problem}",
                        hint=f"See {SETTING} in docs/configuration.md.",
                        id="promptops.W003",
                    )
                )
    return problems
