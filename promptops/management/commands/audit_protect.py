"""`manage.py audit_protect`: put the audit's triggers back."""

from typing import Any

from django.core.management.base import BaseCommand

from promptops.ledger.actions.trail import protect
from promptops.ledger.audit import COMMAND_LINE


class Command(BaseCommand):
    help = "Put back the database's triggers that refuse to change the audit, and record that they were missing."

    def handle(self, *args: Any, **options: Any) -> None:
        missing = protect(by=COMMAND_LINE)
        if missing:
            self.stdout.write(f"Put back: {', '.join(missing)}. Check the entries with `manage.py audit_verify`.")
        else:
            self.stdout.write("All triggers are there. Nothing was changed.")
