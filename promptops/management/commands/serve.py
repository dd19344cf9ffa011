"""`manage.py serve`: prepare the database and run the server; what `make run` calls."""

import errno
import gc
import signal
import socket
import sys
from typing import Any

from django.conf import settings
from django.core.checks import Tags, run_checks
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.urls import reverse

from promptops.compare.actions import prompt_sets
from promptops.engine.providers.kinds import LOCAL
from promptops.ledger.audit import SYSTEM
from promptops.ledger.models import LiveConfiguration
from promptops.management.commands._secret_key import wrong_key_sentence
from promptops.management.commands._start import refuse_newer_database, start_lock
from promptops.people.actions import accounts, first_administrator
from promptops.platform.addresses import public_address, server_address
from promptops.prompts.actions import prompts
from promptops.providers.actions import chain
from promptops.providers.models import Provider
from promptops.site.actions import secret_key_fits
from promptops.web.metrics import LEAST_TOKEN, serve_on_own_port

BACKLOG = 1024
"""Connections that the system queues for the server; further clients would have to retry."""
SWITCH_SECONDS = 0.0005
"""How long a busy thread may keep Python's lock from the event loop, which gives it up at every send. Python's own 5 ms
would add up to 10 ms to each run while a page is rendered or runs are recorded."""


class Command(BaseCommand):
    help = "Migrate, import the shipped prompts at the first start, and serve pages and sockets with Daphne."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = settings.HOST, _port()
        if 0 < len(settings.METRICS_TOKEN) < LEAST_TOKEN:
            raise CommandError(
                f"METRICS_TOKEN has {len(settings.METRICS_TOKEN)} characters; use {LEAST_TOKEN} or more, such as those "
                "of `openssl rand -hex 32`."
            )
        _check_free(host, port)
        if settings.INSTALLED:
            self._say(f"PromptOps keeps its state in {settings.VAR_DIR.resolve()} (VAR_DIR).")
        try:
            with start_lock(connection, self._say):
                refuse_newer_database(connection)
                if not MigrationRecorder(connection).applied_migrations():
                    self._say("Making the tables. This takes a minute on a busy machine ...")
                call_command("migrate", verbosity=0, interactive=False)
                self._prepare()
        except DatabaseError as error:
            raise CommandError(_database_sentence(error)) from None
        self._print_setup_link()
        self._serve(host, port)

    def _prepare(self) -> None:
        if not secret_key_fits():
            raise CommandError(wrong_key_sentence())
        # A database that has never been live gets the embedded model, so that the first preview needs no key.
        if not LiveConfiguration.objects.filter(revision__gt=0).exists() and not Provider.objects.exists():
            chain.create_provider(
                chain.ProviderFields(name="local", kind=LOCAL),
                by=SYSTEM,
                note="The embedded model, so that previews work without a key",
            )
        self._make_administrator()
        problems = prompts.import_prompts(settings.PROMPTS_DIR, by=SYSTEM)
        problems += prompt_sets.import_starter_set(settings.PROMPTS_DIR, by=SYSTEM)
        for problem in problems:
            self._say(f"Warning: {problem}")
        for warning in run_checks(tags=[Tags.database], databases=["default"]):
            self._say(f"Warning: {warning.msg} {warning.hint}")

    def _make_administrator(self) -> None:
        """Create the administrator whom the environment names, if there is none."""
        if not (settings.ADMIN_NAME and settings.ADMIN_PASSWORD):
            return
        try:
            first_administrator.make_administrator(settings.ADMIN_NAME, settings.ADMIN_PASSWORD, by=SYSTEM)
        except ValidationError as error:
            variables = {"username": "ADMIN_NAME", "password": "ADMIN_PASSWORD"}
            problems = [
                f"{variables.get(field, 'ADMIN_NAME')}: {' '.join(messages)}"
                for field, messages in error.message_dict.items()
            ]
            raise CommandError(f"The first administrator cannot be created. {' '.join(problems)}") from None

    def _print_setup_link(self) -> None:
        token = accounts.make_setup_link()
        if token:
            self._say("")
            self._say("Create the first administrator here (this link works once):")
            self._say(f"  {public_address()}{reverse('setup', args=[token])}")
            self._say("")

    def _serve(self, host: str, port: int) -> None:
        # Daphne's reactor must be installed before anything else imports Twisted's.
        from channels.routing import get_default_application

        from promptops.management.commands._server import DrainingServer

        _open_metrics_port()
        sys.setswitchinterval(SWITCH_SECONDS)
        server = DrainingServer(
            application=get_default_application(),
            endpoints=[f"tcp:port={port}:interface={host.replace(':', chr(92) + ':')}:backlog={BACKLOG}"],
            # No access log: its lines would hold one-time links.
            action_logger=None,
            application_close_timeout=10,
            websocket_timeout=-1,
            # A page with a dead connection is dropped within 15 s, so that presence shows only people who are there.
            ping_interval=5,
            ping_timeout=10,
            server_name="PromptOps",
            verbosity=0,
            ready_callable=self._ready,
        )
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in the background of some shells
            signal.signal(signal.SIGINT, signal.default_int_handler)  # which Twisted replaces; until here see manage.py
        _freeze()
        server.run()
        if server.abort_start:
            raise CommandError(f"Port {port} on {host} was taken while PromptOps started. Start it again.")

    def _ready(self) -> None:
        # Daphne calls this just before its event loop runs; the tasks need it running.
        from twisted.internet import reactor

        from promptops.platform import background

        reactor.callLater(0, background.start)  # type: ignore[arg-type]
        self._say(f"PromptOps is up at {server_address()}/ (stop it with Ctrl C)")

    def _say(self, line: str) -> None:
        # Flushed at once: a person who reads a pipe or a log file needs the link before the server answers.
        self.stdout.write(line)
        self.stdout.flush()
        sys.stdout.flush()


def _open_metrics_port() -> None:
    try:
        serve_on_own_port()
    except OSError as error:
        place = f"{settings.METRICS_HOST} port {settings.METRICS_PORT}"
        raise CommandError(
            f"Cannot show metrics on {place}: {error.strerror}. Set METRICS_HOST and METRICS_PORT, for each process "
            "another port."
        ) from None


def _freeze() -> None:
    """Exclude everything that the start has loaded from garbage collection, which would stop the event loop longer."""
    gc.collect()
    gc.freeze()


def _port() -> int:
    if settings.PORT.isdecimal() and 1 <= int(settings.PORT) <= 65535:
        return int(settings.PORT)
    raise CommandError(f"PORT is {settings.PORT!r}; use a number from 1 to 65535.")


def _check_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                other = f"PORT={port % 65535 + 1}"
                start = f"{other} promptops serve" if settings.INSTALLED else f"make run {other}"
                raise CommandError(
                    f"Port {port} on {host} is in use. Stop what uses it, or choose another: {start}"
                ) from None
            raise CommandError(f"Cannot listen on {host} port {port}: {error.strerror}. Set HOST and PORT.") from None


def _database_sentence(error: DatabaseError) -> str:
    reason = str(error).strip().splitlines()[0]
    if isinstance(error, OperationalError):
        return (
            f"The database cannot be opened or written ({reason}). "
            f"Check DATABASE_URL, and that {settings.VAR_DIR} is writable."
        )
    return f"The database could not be brought up to date ({reason}). Restore a backup, or report this as a bug."
