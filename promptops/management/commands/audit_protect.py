"""`manage.py audit_protect`: restore the audit's triggers."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from promptops.ledger.actions.trail import protect
from promptops.ledger.audit import COMMAND_LINE


class Command(BaseCommand):
    help = "Restore the database triggers that refuse changes of the audit, and record that they were missing."

    def handle(self, *args: Any, **options: Any) -> None:
        missing = protect(by=COMMAND_LINE)
        if missing:
            verify = f"{settings.COMMAND} audit_verify"
            self.stdout.write(f"Restored: {', '.join(missing)}. Check the entries with `{verify}`.")
        else:
            self.stdout.write("No trigger is missing. Nothing was changed.")
