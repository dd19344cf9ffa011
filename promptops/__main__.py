"""The command `promptops`: it starts commands of its own, and those of Django if the server is installed.

A command of its own needs no Django: it is one function, listed in `OWN_COMMANDS`, that imports what it needs when it
is called. Commands of the server belong to `management/commands/`. `manage.py` starts them, too.
"""

import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import promptops

INSTALL_SERVER = 'pip install "$(echo promptops-*.whl)[server]"'
"""In the folder of the wheel; another project has the name on the public index."""

OwnCommand = Callable[[list[str]], int]
"""Gets the arguments after its name, and returns the exit code. The first line of its docstring is its help."""


def show_version(arguments: list[str]) -> int:
    """Print the version and the newest change of the tables that it knows."""
    migrations = (Path(__file__).parent / "migrations").glob("[0-9]*.py")
    print(f"{promptops.__version__} ({max(path.stem for path in migrations)})")
    return 0


def show_help(arguments: list[str]) -> int:
    """List the commands. `promptops help COMMAND` explains a command of the server."""
    if arguments:
        return run_server_command("promptops", ["help", *arguments])
    print("promptops COMMAND [ARGUMENTS]\n")
    for name, command in sorted(OWN_COMMANDS.items()):
        print(f"  {name:<10} {(command.__doc__ or '').splitlines()[0]}")
    print(f"\nCommands of the server ({INSTALL_SERVER}):\n\n  {', '.join(['migrate', *server_commands()])}")
    return 0


def follow(arguments: list[str]) -> int:
    """Keep files as what is live. `promptops follow --help` explains it."""
    from promptops.client.mirror.command import main as run_follow

    return run_follow(arguments)


OWN_COMMANDS: dict[str, OwnCommand] = {"follow": follow, "help": show_help, "version": show_version}
OPTIONS = {"-h": "help", "--help": "help", "--version": "version"}


def server_commands() -> list[str]:
    """Return the names of PromptOps' own management commands."""
    folder = Path(__file__).parent / "management" / "commands"
    return sorted(path.stem for path in folder.glob("[!_]*.py"))


def main() -> None:
    """Run the command that the arguments name."""
    name, *arguments = sys.argv[1:] or ["help"]
    command = OWN_COMMANDS.get(OPTIONS.get(name, name))
    try:
        sys.exit(command(arguments) if command else run_server_command("promptops", [name, *arguments]))
    except KeyboardInterrupt:
        sys.exit(130)


def run_server_command(program: str, arguments: list[str]) -> int:
    """Run one management command; a problem with the set-up ends it with one sentence, without a traceback."""
    if arguments[:1] == ["serve"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until the server handles Ctrl C itself: Python loses the exception where it runs a callback of its own, as it
        # does at every import. What the database was doing is taken back, as after a power cut.
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    for argument in arguments:
        plain = argument.encode(errors="replace").decode()  # bytes that are not UTF-8 come as lone surrogates
        if plain != argument:
            sys.exit(f"The argument {plain!r} is not UTF-8. Write it in UTF-8.")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "promptops.settings")
    try:
        import django
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
        from django.db import OperationalError, ProgrammingError
    except ModuleNotFoundError as error:
        sys.exit(_without_server(program, arguments, error))

    try:
        try:
            without_collecting(django.setup)
        except ModuleNotFoundError as error:
            sys.exit(_without_server(program, arguments, error))
        execute_from_command_line([program, *arguments])
    except ImproperlyConfigured as error:
        sys.exit(str(error))
    except (OperationalError, ProgrammingError) as error:
        reason = str(error).strip().splitlines()[0]
        sys.exit(f"The database is not ready ({reason}). {_remedy()}")
    return 0


def without_collecting(load: Callable[[], object]) -> None:
    """Call `load`, and exclude all that it loads from garbage collection, now and later.

    Nearly all of it stays until the process ends. Looking through it again and again took a third of a start.
    """
    gc.disable()
    try:
        load()
        gc.freeze()
    finally:
        gc.enable()


def _remedy() -> str:
    """Return what to do if the database is not ready, with the folder in which it should be."""
    from django.conf import settings

    return f"Start PromptOps once, or check DATABASE_URL and VAR_DIR, which is {settings.VAR_DIR.absolute()}."


def _without_server(program: str, arguments: list[str], error: ModuleNotFoundError) -> str:
    """Return the sentence that says how to install the server. Raise the error if no package of it is missing."""
    ours = {"promptops", os.environ["DJANGO_SETTINGS_MODULE"].split(".")[0]}
    if error.name is None or error.name.split(".")[0] in ours:
        raise error
    install = INSTALL_SERVER if program == "promptops" else "make run"
    return f"`{' '.join([program, *arguments[:1]])}` needs the server, but {error.name} is missing. Run: {install}"


if __name__ == "__main__":
    main()
