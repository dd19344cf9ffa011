"""The Django app."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class PromptOpsConfig(AppConfig):
    name = "promptops"
    verbose_name = "PromptOps"

    def ready(self) -> None:
        from promptops import signals, system_checks  # noqa: F401 -- registers the checks, connects the receivers

        post_migrate.connect(ensure_single_rows, sender=self)


def ensure_single_rows(using: str, **kwargs: Any) -> None:
    """Two tables hold exactly one row, there from the first migration on (and again after a flush)."""
    from promptops.models import AuditHead, LiveConfiguration

    LiveConfiguration.objects.using(using).get_or_create(pk=1)
    AuditHead.objects.using(using).get_or_create(pk=1)
