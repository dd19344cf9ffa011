"""`manage.py replace_secret_key`: accept the current secret key, after a change or a loss."""

from typing import Any

from django.core.management.base import BaseCommand

from promptops.ledger.audit import COMMAND_LINE
from promptops.site.actions import replace_secret_key


class Command(BaseCommand):
    help = (
        "Encrypt stored provider keys and webhook secrets with the current secret key; drop those that cannot be read."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        lost = replace_secret_key(by=COMMAND_LINE)
        self.stdout.write(
            f"The current secret key is accepted. {lost} stored provider keys and webhook secrets were dropped."
        )
