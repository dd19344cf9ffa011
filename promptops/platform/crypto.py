"""Encryption of stored secrets, such as provider keys, with a key derived from SECRET_KEY."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class UnreadableSecret(ValueError):
    """The stored secret was encrypted with another secret key."""


def _fernet() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    derived = [hashlib.sha256(b"promptops provider keys:" + key.encode()).digest() for key in keys]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in derived])


def encrypt(secret: str) -> str:
    """Return the secret as text that only this installation's secret key decrypts."""
    return _fernet().encrypt(secret.encode()).decode()


def renew(token: str) -> str:
    """Encrypt the same secret with the current key. Raises UnreadableSecret if no known key decrypts it."""
    try:
        return _fernet().rotate(token.encode()).decode()
    except InvalidToken:
        raise UnreadableSecret("The stored key was encrypted with another secret key. Enter it again.") from None


def decrypt(token: str) -> str:
    """Return the secret. Raises UnreadableSecret."""
    try:
        return _fernet().decrypt(token.encode()).decode()
    except InvalidToken:
        raise UnreadableSecret("The stored key was encrypted with another secret key. Enter it again.") from None
