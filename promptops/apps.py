"""The Django app."""

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models import Max
from django.db.models.signals import post_migrate


class PromptOpsConfig(AppConfig):
    name = "promptops"
    verbose_name = "PromptOps"

    def ready(self) -> None:
        from promptops import signals, system_checks  # noqa: F401 -- registers the checks, connects the receivers

        post_migrate.connect(ensure_single_rows, sender=self)


def ensure_single_rows(using: str, **kwargs: Any) -> None:
    """Some tables hold exactly one row, there from the first migration on (and again after a flush).

    With them comes the safety model that ships; a newer one that an update brings waits to be chosen.
    """
    from promptops.guards import shipped_model
    from promptops.models import AuditHead, LiveConfiguration, SafetyModelVersion, SafetySettings

    LiveConfiguration.objects.using(using).get_or_create(pk=1)
    AuditHead.objects.using(using).get_or_create(pk=1)
    if SafetySettings._meta.db_table not in connections[using].introspection.table_names():
        return  # migrated back to before it was made
    newest = SafetyModelVersion.objects.using(using).aggregate(newest=Max("number"))["newest"] or 0
    sha256, described = shipped_model()
    version, _ = SafetyModelVersion.objects.using(using).get_or_create(
        sha256=sha256, defaults=described | {"number": newest + 1}
    )
    SafetySettings.objects.using(using).get_or_create(pk=1, defaults={"model": version})
