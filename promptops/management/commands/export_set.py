"""`manage.py export_set DIR`: write all live templates as files that `import_set` reads again."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from promptops.ledger.audit import COMMAND_LINE
from promptops.ledger.errors import Refused
from promptops.prompts.actions.sets import write_set


class Command(BaseCommand):
    help = "Write every live template to DIR/<name>.txt (its text) and DIR/<name>.json (the rest)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dir", type=Path)
        parser.add_argument(
            "--keep-variables",
            action="store_true",
            help="write {{ name }} as it is edited, instead of its value, to change it there and import it",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            paths = write_set(options["dir"], by=COMMAND_LINE, keep_variables=options["keep_variables"])
        except OSError as error:
            raise CommandError(f"{options['dir']} cannot be written: {error.strerror}.") from None
        except Refused as error:
            raise CommandError(f"{error} Or export with --keep-variables.") from None
        for path in paths:
            self.stdout.write(str(path))
