"""`manage.py replace_secret_key`: go on after the secret key was lost."""

from typing import Any

from django.core.management.base import BaseCommand

from promptops.actions.settings import replace_secret_key
from promptops.audit import COMMAND_LINE


class Command(BaseCommand):
    help = "Accept the present secret key after the old one was lost. Stored provider keys must be entered again."

    def handle(self, *args: Any, **options: Any) -> None:
        lost = replace_secret_key(by=COMMAND_LINE)
        self.stdout.write(f"The present secret key is accepted. {lost} stored provider keys were dropped.")
