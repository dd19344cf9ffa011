"""The warning that the secret key is not the one that the database was made with."""

from django.conf import settings
from django.core.management.base import OutputWrapper

from promptops.ledger.models import LiveConfiguration
from promptops.platform import crypto


def wrong_key_sentence() -> str:
    """Return the sentence that says what is wrong and what to do."""
    return (
        "The secret key is not the one that this database was made with. Restore the old one "
        f"({settings.VAR_DIR / 'secret_key'} or SECRET_KEY); if it is lost for good, run "
        f"`{settings.COMMAND} replace_secret_key`: stored provider keys and webhooks must then be entered again."
    )


def warn_of_wrong_key(stderr: OutputWrapper) -> None:
    """Warn in a command that works without the key, so that people learn of it before the server's next start."""
    check = LiveConfiguration.objects.values_list("key_check", flat=True).get(pk=1)
    try:
        if check:
            crypto.decrypt(check)
    except crypto.UnreadableSecret:
        stderr.write(f"Warning: {wrong_key_sentence()}")
