"""The warning that the secret key is not the one that the database was made with."""

from django.conf import settings
from django.core.management.base import OutputWrapper

from promptops.ledger.models import LiveConfiguration
from promptops.platform import crypto, environment

_ENTERED_AGAIN = "stored provider keys and webhooks must then be entered again."


def wrong_key_sentence() -> str:
    """Return what is wrong with the secret key of a database, and what to do."""
    return (
        "The secret key is not the one that this database was made with. Restore the old one in "
        f"{environment.secret_key_place(settings.VAR_DIR)}; if it is lost for good, run "
        f"`{settings.COMMAND} replace_secret_key`: {_ENTERED_AGAIN}"
    )


def key_of_another_backup() -> str:
    """Return what to do if the secret key does not fit the backup that is restored."""
    return (
        f"Nothing was restored. The secret key in {environment.secret_key_place(settings.VAR_DIR)} is not the one that "
        "this backup was made with. Put that one there, then run the command again. If it is lost for good, restore "
        "with `pg_restore` or copy the file of the database, then run "
        f"`{settings.COMMAND} replace_secret_key`: {_ENTERED_AGAIN}"
    )


def warn_of_wrong_key(stderr: OutputWrapper) -> None:
    """Warn in a command that works without the key, so that people learn of it before the server's next start."""
    check = LiveConfiguration.objects.values_list("key_check", flat=True).get(pk=1)
    try:
        if check:
            crypto.decrypt(check)
    except crypto.UnreadableSecret:
        stderr.write(f"Warning: {wrong_key_sentence()}")
