"""`manage.py export_prompts DIR`: write the live texts as files."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from promptops.ledger.audit import COMMAND_LINE
from promptops.ledger.errors import Refused
from promptops.prompts.actions.prompts import export_prompts


class Command(BaseCommand):
    help = (
        "Write every live text: the default of each operation to DIR/<operation>.txt, others into DIR/templates/, and "
        "manifest.json last. No file is ever half written."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dir", type=Path)
        parser.add_argument(
            "--keep-variables", action="store_true", help="write {{ name }} as it is edited, instead of its value"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            paths = export_prompts(options["dir"], by=COMMAND_LINE, keep_variables=options["keep_variables"])
        except OSError as error:
            raise CommandError(f"{options['dir']} cannot be written: {error.strerror}.") from None
        except Refused as error:
            raise CommandError(f"{error} Or export with --keep-variables.") from None
        for path in paths:
            self.stdout.write(str(path))
