"""`manage.py audit_verify [--pin SEQ:SHA256]`: check the audit's chain and print its head."""

import time
from typing import Any

from django.core.checks import Tags, run_checks
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from promptops.ledger.chain import Link, verify


class Command(BaseCommand):
    help = "Find the first audit entry that is missing or was changed. The exit code is 1 if there is one, else 0."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--pin",
            metavar="SEQ:SHA256",
            help="a head that an earlier check printed; finds a history that was rewritten or cut off since then",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            pin = Link.read(options["pin"]) if options["pin"] else None
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        began = time.monotonic()
        verdict = verify(pin=pin)
        seconds = time.monotonic() - began
        for warning in run_checks(tags=[Tags.database], databases=["default"]):
            self.stderr.write(f"Warning: {warning.msg} {warning.hint}")
        if verdict.bad:
            raise CommandError(f"{verdict.bad} The {verdict.reached.seq:,} entries before it fit.")
        self.stdout.write(f"{verdict.head.seq:,} entries checked in {seconds:.1f} s; the chain is whole.")
        if pin:
            self.stdout.write(f"It goes through the pinned entry {pin.seq}.")
        self.stdout.write(f"Head: {verdict.head}")
