"""`manage.py restore DIR [--replace]`: put back what `backup` copied, check the audit, and say so in it."""

from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from promptops.ledger.actions.backups import record_restore
from promptops.ledger.chain import Link, verify
from promptops.management.commands._secret_key import key_of_another_backup
from promptops.management.commands._start import start_lock
from promptops.management.commands.backup import newest_migration
from promptops.people.models import User
from promptops.platform import backup, crypto


class Command(BaseCommand):
    help = "Replace the database with a backup. Stop every PromptOps process first."
    requires_system_checks: list[str] = []  # the database may be damaged, which is why it is restored

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", metavar="DIR", type=Path)
        parser.add_argument("--replace", action="store_true", help="also when the database has people in it")

    def handle(self, *args: Any, folder: Path, replace: bool, **options: Any) -> None:
        try:
            manifest = backup.read_manifest(folder)
            self._refuse(manifest, replace)
            backup.refuse_use()
            with start_lock(connection, self.stdout.write):
                backup.put_back(folder, manifest)
                call_command("migrate", verbosity=0)
                record_restore(manifest.made_at, manifest.audit_head)  # before the check, which may take a minute
        except backup.BackupError as error:
            raise CommandError(str(error)) from None
        verdict = verify(pin=Link.read(manifest.audit_head))
        if verdict.bad:
            raise CommandError(f"The backup is restored, but its audit is not whole: {verdict.bad}")
        self.stdout.write(
            f"Restored the backup of {manifest.made_at}. The audit is whole up to its entry {verdict.head.seq}."
        )
        self.stdout.write("What happened after the backup is lost. Start PromptOps; open pages reload by themselves.")

    def _refuse(self, manifest: backup.Manifest, replace: bool) -> None:
        """Raise BackupError for a backup that does not fit here."""
        if connection.vendor != manifest.database:
            raise backup.BackupError(
                f"This is a backup of {manifest.database}, and DATABASE_URL names {connection.vendor}."
            )
        if manifest.key_check:
            try:
                crypto.decrypt(manifest.key_check)
            except crypto.UnreadableSecret:
                raise backup.BackupError(key_of_another_backup()) from None
        known = {name for app, name in MigrationLoader(None).disk_migrations if app == "promptops"}
        if manifest.migration not in known:
            raise backup.BackupError(
                f"A newer PromptOps made this backup ({manifest.migration}). Install that version."
            )
        if connection.vendor == "postgresql" and newest_migration() > manifest.migration:
            raise backup.BackupError(
                "The database is newer than the backup. Restore into an empty one: dropdb, createdb, then this command."
            )
        if not replace and self._has_people():
            raise backup.BackupError(
                "The database has people in it, who would be replaced. Add --replace if you mean it."
            )

    def _has_people(self) -> bool:
        try:
            return User._meta.db_table in connection.introspection.table_names() and User.objects.exists()
        except Exception:  # a damaged database has nobody to lose
            return False
