"""`manage.py import_prompts FILE...`: import texts of other tools as live versions or as drafts of a person."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from promptops.ledger.audit import COMMAND_LINE
from promptops.management.commands._secret_key import warn_of_wrong_key
from promptops.people.models import User
from promptops.prompts.actions.importing import (
    NewOperation,
    NotImported,
    Text,
    import_drafts,
    import_versions,
    new_operation,
)
from promptops.prompts.enums import AnswerKind, InputKind
from promptops.prompts.models import Template
from promptops.prompts.queries.operations import live_choices
from promptops.texts import sources
from promptops.texts.sources import Candidate, UnreadableSource


class Command(BaseCommand):
    help = (
        "Import prompts from .txt, .md, .json and .py files (Python is read, never run): all of them, or none. They go "
        "live, or become drafts of the person that --drafts-of names."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
        # Without choices: they are in the database, and --help needs none. The import refuses an unknown name.
        parser.add_argument("--operation", help="the operation of new templates that are not named like one")
        parser.add_argument(
            "--make-operation",
            metavar="NAME",
            help="make this operation for new templates",
        )
        made = parser.add_argument_group("the operation to make", "Without these it takes one text and gives one text.")
        made.add_argument("--purpose", default="", help="one sentence for operators")
        made.add_argument("--input", choices=InputKind.values, help="its input")
        made.add_argument("--fields", default="", metavar="NAMES", help='of named fields, such as "scene, mood?"')
        made.add_argument("--answer", choices=AnswerKind.values, help="its answer")
        made.add_argument("--count", type=int, default=3, help="of alternatives; 3 if it is not given")
        made.add_argument("--schema", type=Path, metavar="FILE", help="the JSON Schema of a JSON answer")
        parser.add_argument("--only", action="append", metavar="NAME", help="import only the text of this name")
        parser.add_argument("--drafts-of", metavar="USER", help="make them drafts of this person instead")
        parser.add_argument("--note", default="", help="the reason, shown in the history")
        parser.add_argument("--dry-run", action="store_true", help="show what the files hold and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        candidates = [each for path in options["files"] for each in self._read(path)]
        if options["only"]:
            names = dict.fromkeys(each.name for each in candidates)
            if missing := [name for name in options["only"] if name not in names]:
                raise CommandError(f"The files hold no text named {', '.join(missing)}. Found: {', '.join(names)}.")
            candidates = [each for each in candidates if each.name in options["only"]]
        for each in candidates:
            self._show(each)
        if options["dry_run"]:
            self.stdout.write(f"{len(candidates)} to import. Nothing was changed: this was a dry run.")
            return
        made = self._new_operation(options)
        chosen = made.name if made else options["operation"]
        texts = [Text(each.name, self._operation(each, chosen), each.text) for each in candidates]
        common: dict[str, Any] = {"by": COMMAND_LINE, "note": options["note"], "operations": [made] if made else []}
        try:
            if options["drafts_of"]:
                templates = import_drafts(texts, user=self._user(options["drafts_of"]), **common)
            else:
                templates = import_versions(texts, **common)
        except NotImported as refused:
            raise CommandError("\n".join([*refused.problems, "Nothing was imported."])) from None
        self.stdout.write(f"Imported: {', '.join(template.name for template in templates)}.")
        warn_of_wrong_key(self.stderr)

    def _read(self, path: Path) -> list[Candidate]:
        try:
            return sources.read(path.name, path.read_bytes())
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}. Nothing was imported.") from None
        except UnreadableSource as error:
            raise CommandError(f"{error} Nothing was imported.") from None

    def _show(self, each: Candidate) -> None:
        self.stdout.write(f"{each.name}: {each.file} {each.label}".rstrip() + f", {len(each.text.encode()):,} bytes")
        notes = [*each.changes]
        if each.invisible:
            found = ", ".join(f"{one.name} × {one.count}" for one in each.invisible)
            notes.append(f"Invisible characters are kept: {found}.")
        if each.placeholders:
            found = ", ".join(place.written for place in each.placeholders)
            notes.append(f"Placeholders are kept: {found}. The import page can turn them into variables.")
        for note in notes:
            self.stdout.write(f"  {note}")

    def _new_operation(self, options: dict[str, Any]) -> NewOperation | None:
        of_operation = ("purpose", "input", "fields", "answer", "schema")
        if not options["make_operation"]:
            if given := next((name for name in of_operation if options[name]), None):
                raise CommandError(f"--{given} describes an operation to make. Name it with --make-operation.")
            return None
        if options["operation"]:
            raise CommandError("Give either --operation or --make-operation.")
        kind = options["answer"] or (AnswerKind.JSON if options["schema"] else AnswerKind.TEXT)
        answer: dict[str, Any] = {"kind": str(kind)}
        if kind == AnswerKind.LINES:
            answer["count"] = options["count"]
        if kind == AnswerKind.JSON:
            answer["schema"] = self._schema(options["schema"])
        return new_operation(
            options["make_operation"],
            answer,
            purpose=options["purpose"],
            input=options["input"] or "",
            field_names=options["fields"],
        )

    @staticmethod
    def _schema(path: Path | None) -> Any:
        if path is None:
            raise CommandError("A JSON answer needs a schema. Name its file with --schema.")
        try:
            return json.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}. Nothing was imported.") from None
        except (ValueError, RecursionError):
            raise CommandError(f"{path} is not JSON in UTF-8. Nothing was imported.") from None

    @staticmethod
    def _operation(each: Candidate, chosen: str | None) -> str:
        if chosen:
            return chosen
        if each.name in dict(live_choices()):
            return each.name
        if template := Template.objects.filter(name=each.name).first():
            return template.operation
        raise CommandError(
            f"{each.name} is not named like an operation. Choose one with --operation, or --make-operation."
        )

    @staticmethod
    def _user(name: str) -> User:
        user = User.objects.filter(username=name, is_active=True).first()
        if user is None:
            raise CommandError(f"There is no active user {name!r}.")
        return user
