"""`manage.py backup DIR`: copy the database into a new folder while people work."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from promptops.ledger.actions.backups import record_backup
from promptops.ledger.models import AuditHead, LiveConfiguration
from promptops.platform import backup


class Command(BaseCommand):
    help = "Copy the database into a new folder, with checksums. The secret key is not copied: keep it apart."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", metavar="DIR", type=Path)

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        # Before the copy: what is written meanwhile may or may not be in it, what was there before is.
        head = AuditHead.objects.get(pk=1)
        try:
            backup.new_folder(folder)
            sha256 = backup.copy_database(folder)
            manifest = backup.Manifest(
                format=backup.FORMAT,
                database=connection.vendor,
                made_at=timezone.now().isoformat(timespec="seconds"),
                migration=newest_migration(),
                audit_head=f"{head.seq}:{head.sha256}",
                key_check=LiveConfiguration.objects.values_list("key_check", flat=True).get(pk=1),
                sha256=sha256,
            )
            backup.write_manifest(folder, manifest)
        except backup.BackupError as error:
            raise CommandError(str(error)) from None
        record_backup(manifest.audit_head)
        size = (folder / manifest.copy).stat().st_size / 1e6
        self.stdout.write(f"The backup is in {folder} ({size:,.1f} MB). Audit head: {manifest.audit_head}")
        self.stdout.write(f"Keep the secret key too, apart from the backup: {settings.VAR_DIR / 'secret_key'}")


def newest_migration() -> str:
    """Return the newest migration of PromptOps that the database has; "" for an empty one."""
    applied = MigrationRecorder(connection).applied_migrations()
    return max((name for app, name in applied if app == "promptops"), default="")
