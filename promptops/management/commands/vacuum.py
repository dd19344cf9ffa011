"""`manage.py vacuum`: write SQLite's file once more without unused space."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from promptops.platform import space


class Command(BaseCommand):
    help = "Shrink SQLite's file, and let it shrink by itself when runs are deleted. Writers wait meanwhile."

    def handle(self, *args: Any, **options: Any) -> None:
        if connection.vendor != "sqlite":
            raise CommandError("Only SQLite needs this. PostgreSQL reuses the space of deleted runs by itself.")
        before, after = space.rewrite()
        self.stdout.write(f"The database had {before / 1e6:,.1f} MB and has {after / 1e6:,.1f} MB now.")
