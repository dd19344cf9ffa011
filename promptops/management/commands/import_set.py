"""`manage.py import_set DIR [--dry-run]`: release the files that `export_set` wrote."""

import difflib
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from promptops.ledger.audit import COMMAND_LINE
from promptops.ledger.errors import Refused
from promptops.management.commands._secret_key import warn_of_wrong_key
from promptops.prompts.actions.sets import Plan, Planned, import_set, plan_import, read_folder


class Command(BaseCommand):
    help = "Import a folder written by export_set: all of it or, if there is any problem, nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dir", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="show what would change and change nothing")
        parser.add_argument("--note", default="", help="the reason, for templates whose file has no new note")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            entries = read_folder(options["dir"])
            if options["dry_run"]:
                self._print(plan_import(entries))
                return
            plan = import_set(entries, by=COMMAND_LINE, note=options["note"])
        except OSError as error:
            raise CommandError(f"{options['dir']} cannot be read: {error.strerror}.") from None
        except ValidationError as error:
            raise CommandError(f"{' '.join(error.messages)}\nNothing was imported.") from None
        except Refused as refused:
            raise CommandError(f"{refused}\nNothing was imported.") from None
        self.stdout.write(f"Imported: {', '.join(planned.entry.name for planned in plan.changes)}.")
        warn_of_wrong_key(self.stderr)

    def _print(self, plan: Plan) -> None:
        for planned in plan.changes:
            self._print_change(planned)
        for label, names in (("Unchanged", plan.unchanged), ("Not in the files, left as they are", plan.left)):
            if names:
                self.stdout.write(f"{label}: {', '.join(names)}.")
        if plan.problems:
            raise CommandError("\n".join([*plan.problems, "Nothing would be imported."]))
        self.stdout.write(f"{len(plan.changes)} to import. Nothing was changed: this was a dry run.")

    def _print_change(self, planned: Planned) -> None:
        name = planned.entry.name
        self.stdout.write(f"{name}: {'changes' if planned.template else 'is new'}")
        for field, before, after in planned.changes:
            self.stdout.write(f"  {field}: {before!r} -> {after!r}" if planned.template else f"  {field}: {after!r}")
        if planned.texts:
            old, new = (text.splitlines() for text in planned.texts)
            for line in difflib.unified_diff(old, new, f"{name} here", f"{name}.txt", lineterm=""):
                self.stdout.write(f"  {line}")
