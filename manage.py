#!/usr/bin/env python3
"""PromptOps from the command line: `python manage.py help` lists the commands."""

import os
import signal
import sys


def main() -> None:
    """Run one management command; trouble with the set-up is told in one sentence, without a traceback."""
    if not (3, 11) <= sys.version_info < (3, 14):
        sys.exit(f"PromptOps needs Python 3.11, 3.12 or 3.13; this is {sys.version.split()[0]}.")
    for argument in sys.argv:
        plain = argument.encode(errors="replace").decode()  # bytes that are not UTF-8 come as lone surrogates
        if plain != argument:
            sys.exit(f"The argument {plain!r} is not UTF-8. Write it in UTF-8.")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "promptops.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import OperationalError, ProgrammingError

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(str(error))
    except (OperationalError, ProgrammingError) as error:
        reason = str(error).strip().splitlines()[0]
        sys.exit(f"The database is not ready ({reason}). Start PromptOps once, or check DATABASE_URL and VAR_DIR.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until the server handles Ctrl C itself: Python loses the exception where it runs a callback of its own, as it
        # does at every import. What the database was doing is taken back, as after a power cut.
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
