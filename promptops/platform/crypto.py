"""Keys at rest: provider keys are encrypted with a key derived from SECRET_KEY."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class UnreadableSecret(ValueError):
    """What was stored was encrypted with another secret key."""


def _fernet() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    derived = [hashlib.sha256(b"promptops provider keys:" + key.encode()).digest() for key in keys]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in derived])


def encrypt(secret: str) -> str:
    """The secret as text that only this installation's secret key opens."""
    return _fernet().encrypt(secret.encode()).decode()


def renew(token: str) -> str:
    """The same secret, encrypted with the present key; UnreadableSecret when no known key opens it."""
    try:
        return _fernet().rotate(token.encode()).decode()
    except InvalidToken:
        raise UnreadableSecret("The stored key was encrypted with another secret key. Enter it again.") from None


def decrypt(token: str) -> str:
    """What `encrypt` was given, or UnreadableSecret."""
    try:
        return _fernet().decrypt(token.encode()).decode()
    except InvalidToken:
        raise UnreadableSecret("The stored key was encrypted with another secret key. Enter it again.") from None
