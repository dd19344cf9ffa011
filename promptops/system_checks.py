"""System checks; those of the database run at each start and with `manage.py check --database default`."""

from typing import Any

from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from promptops.models import audit_triggers


@register(Tags.database)
def audit_is_protected(databases: list[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Say which triggers of the audit are missing, once the migration that makes them was there."""
    found: list[CheckMessage] = []
    for alias in databases or []:
        connection = connections[alias]
        applied = MigrationRecorder(connection).applied_migrations()
        if not any(app == "promptops" and name.endswith("_audit_triggers") for app, name in applied):
            continue
        if missing := audit_triggers.missing(connection):
            found.append(
                Warning(
                    f"The audit can be changed: the database's triggers that refuse it are missing "
                    f"({', '.join(missing)}).",
                    hint="Find out who took them away, check the entries with `manage.py audit_verify --pin …`, "
                    "and put the triggers back with `manage.py audit_protect`.",
                    id="promptops.W001",
                )
            )
    return found
