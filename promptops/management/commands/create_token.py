"""`manage.py create_token NAME --scope read --scope run`: make a token for a machine and print it."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from promptops.ledger.audit import COMMAND_LINE
from promptops.ledger.errors import Refused
from promptops.management.commands._secret_key import warn_of_wrong_key
from promptops.people.actions.tokens import make_token
from promptops.people.enums import Scope


class Command(BaseCommand):
    help = "Make a token for a machine and print it. It is not stored and cannot be printed again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the token's name, such as gpu-fleet")
        parser.add_argument(
            "--scope", action="append", required=True, choices=Scope.values, help="give it once for each scope"
        )
        parser.add_argument("--server", default="", help="the only server that may use the token (default: any)")
        parser.add_argument("--days", type=int, help="the lifetime in days (default: without an end)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            _, text = make_token(
                options["name"], options["scope"], by=COMMAND_LINE, server=options["server"], days=options["days"]
            )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        except Refused as error:
            raise CommandError(str(error)) from None
        self.stdout.write(text)
        warn_of_wrong_key(self.stderr)
