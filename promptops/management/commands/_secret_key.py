"""Whether the secret key is the one that the database was made with; both can be lost or mixed up on the way."""

from django.conf import settings
from django.core.management.base import OutputWrapper

from promptops.ledger.models import LiveConfiguration
from promptops.platform import crypto


def wrong_key_sentence() -> str:
    """What to say and do where it is another one."""
    return (
        "The secret key is not the one that this database was made with. Put the old one back "
        f"({settings.VAR_DIR / 'secret_key'} or SECRET_KEY); if it is gone for good, run "
        "`manage.py replace_secret_key`: stored provider keys must then be entered again."
    )


def warn_of_wrong_key(stderr: OutputWrapper) -> None:
    """Say it in a command that does its work without the key, so that it is known before the server's next start."""
    check = LiveConfiguration.objects.values_list("key_check", flat=True).get(pk=1)
    try:
        if check:
            crypto.decrypt(check)
    except crypto.UnreadableSecret:
        stderr.write(f"Warning: {wrong_key_sentence()}")
