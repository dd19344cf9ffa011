"""The Django app: it imports what registers itself, and creates the rows of tables that hold exactly one."""

from importlib import import_module
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.apps import apps as present_apps
from django.apps.registry import Apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Max
from django.db.models.signals import post_migrate, pre_migrate

PACKAGE = Path(__file__).parent
# Modules that register something on import: audited actions, parts of the live configuration, tasks, checks, metrics.
REGISTERING = (
    *("audited", "following", "live_operations", "live_part", "live_variables"),
    *("signals", "system_checks", "tokens", "metrics", "telemetry"),
)


def registering_modules() -> list[str]:
    """Return the modules of the features that register something when they are imported."""
    files = [*PACKAGE.glob("*/actions.py"), *PACKAGE.glob("*/actions/*.py")]
    files += [path for name in REGISTERING for path in PACKAGE.glob(f"*/{name}.py")]
    names = {".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in files}
    return sorted(f"promptops.{name.removesuffix('.__init__')}" for name in names)


class PromptOpsConfig(AppConfig):
    name = "promptops"
    verbose_name = "PromptOps"

    def ready(self) -> None:
        from promptops.engine import addresses
        from promptops.fleet import fragments as fleet_fragments
        from promptops.providers import key_variables
        from promptops.site import fragments

        for name in registering_modules():
            import_module(name)
        fragments.register()
        fleet_fragments.register()
        try:
            key_variables.permitted()
            addresses.allow_only(addresses.allow_list(settings.PROVIDER_HOSTS))
            addresses.allow_list(settings.WEBHOOK_PRIVATE_HOSTS)
        except ValueError as error:
            raise ImproperlyConfigured(str(error)) from None
        pre_migrate.connect(let_file_shrink, sender=self)
        pre_migrate.connect(lift_statement_limit, sender=self)
        post_migrate.connect(ensure_single_rows, sender=self)
        post_migrate.connect(rename_clashing_variables, sender=self)
        post_migrate.connect(restore_statement_limit, sender=self)


def let_file_shrink(using: str, **kwargs: Any) -> None:
    """Let a new SQLite file give space back (`platform.space`). A file with tables can do so after a VACUUM."""
    connection = connections[using]
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts for the next VACUUM of this connection
        if not connection.introspection.table_names(cursor):
            cursor.execute("VACUUM")


def lift_statement_limit(using: str, **kwargs: Any) -> None:
    """Let a migration of a large table take longer than any page may."""
    _execute_on_postgresql(using, "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")


def restore_statement_limit(using: str, **kwargs: Any) -> None:
    """Restore the limits that the connection began with."""
    _execute_on_postgresql(using, "RESET statement_timeout; RESET idle_in_transaction_session_timeout")


def _execute_on_postgresql(using: str, statements: str) -> None:
    connection = connections[using]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(statements)


def ensure_single_rows(using: str, apps: Apps = present_apps, **kwargs: Any) -> None:
    """Create the row of each table that holds exactly one, after the first migration and after a flush.

    Add the built-in operations and the safety model that ships; a newer model that an update brings waits to be
    chosen. `apps` are the models of the migration that has just run, which may be an old one.
    """
    from promptops.prompts.live_operations import built_in_operations
    from promptops.safety.guards import shipped_model

    models: dict[str, Any] = {model.__name__: model for model in apps.get_models()}
    for name in ("LiveConfiguration", "AuditHead"):
        # Looks at no other column: an old model may have one that this database lacks.
        if (model := models.get(name)) and not model.objects.using(using).filter(pk=1).exists():
            model.objects.using(using).get_or_create(pk=1)
    if model := models.get("Operation"):
        for name, facts in built_in_operations().items():
            model.objects.using(using).get_or_create(name=name, defaults=facts)
    if "SafetySettings" not in models:
        return
    versions = models["SafetyModelVersion"].objects.using(using)
    newest = versions.aggregate(newest=Max("number"))["newest"] or 0
    sha256, fields = shipped_model()
    version, _ = versions.get_or_create(sha256=sha256, defaults=fields | {"number": newest + 1})
    models["SafetySettings"].objects.using(using).get_or_create(pk=1, defaults={"model": version})


def rename_clashing_variables(using: str, plan: Any = None, **kwargs: Any) -> None:
    """Rename variables of older databases that have the name of an input, once all migrations are applied.

    No migration does it: a release stores the whole configuration with the models of today, which an old state of the
    tables may not fit. A flush has no `plan`.
    """
    from promptops.ledger.audit import SYSTEM
    from promptops.prompts.actions.renaming import rename_reserved

    executor = MigrationExecutor(connections[using])
    is_newest = not executor.migration_plan(executor.loader.graph.leaf_nodes("promptops"))
    if using == DEFAULT_DB_ALIAS and plan is not None and is_newest:
        rename_reserved(by=SYSTEM)
