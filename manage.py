#!/usr/bin/env python3
"""PromptOps from the command line: `python manage.py help` lists the commands."""

import sys


def main() -> None:
    """Run one management command."""
    if not (3, 11) <= sys.version_info < (3, 14):
        sys.exit(f"PromptOps needs Python 3.11, 3.12 or 3.13; this is {sys.version.split()[0]}.")
    from promptops.__main__ import run_server_command

    run_server_command("manage.py", sys.argv[1:])


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
