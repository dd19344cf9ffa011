"""`manage.py admin_link`: print a link with which an administrator sets a new password."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import reverse

from promptops.ledger.audit import COMMAND_LINE
from promptops.ledger.errors import Stale
from promptops.management.commands._secret_key import warn_of_wrong_key
from promptops.people.actions import accounts, second_step
from promptops.people.enums import Role
from promptops.people.models import User
from promptops.platform.addresses import public_address

REMEDY = "run this command with the HOST and PORT of the server"


class Command(BaseCommand):
    help = "Print a one-time link with which an administrator sets a new password (or, without any, creates the first)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--clear-second-step",
            action="store_true",
            help="also turn off the administrator's second step, if the phone and the recovery codes are lost",
        )
        parser.add_argument("username", nargs="?", help="the administrator's user name; needed when there are several")

    def handle(self, *args: Any, **options: Any) -> None:
        if token := accounts.make_setup_link():
            path = reverse("setup", args=[token])
        else:
            user = self._administrator(options["username"])
            if options["clear_second_step"]:
                self._clear_second_step(user)
            path = reverse("password_by_link", args=[accounts.make_password_link(user, by=COMMAND_LINE)])
        self.stdout.write(public_address() + path)
        # On stderr: a script may read the link from stdout.
        remedy = "check PUBLIC_ADDRESS and the proxy" if settings.PUBLIC_ADDRESS else REMEDY
        self.stderr.write(f"If nothing answers there, {remedy}.")
        warn_of_wrong_key(self.stderr)

    def _clear_second_step(self, user: User) -> None:
        try:
            second_step.turn_off(user, by=COMMAND_LINE)
        except Stale as stale:
            self.stderr.write(str(stale))

    def _administrator(self, username: str | None) -> User:
        administrators = list(User.objects.filter(role=Role.ADMINISTRATOR, is_active=True).order_by("username"))
        if username:
            administrators = [user for user in administrators if user.username.lower() == username.lower()]
        if len(administrators) == 1:
            return administrators[0]
        if username:
            raise CommandError(f"There is no active administrator {username!r}.")
        names = ", ".join(user.username for user in administrators)
        raise CommandError(f"There are several administrators: {names}. Name one: {settings.COMMAND} admin_link NAME")
