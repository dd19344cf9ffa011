"""The environment variables of providers as keys, by the rules in `engine.providers.key_variables`.

Stored keys belong to `platform.crypto`.
"""

from functools import lru_cache
from urllib.parse import urlsplit

from django.conf import settings

from promptops.engine.providers.key_variables import Permitted, is_loopback
from promptops.providers.models import Provider


def permitted() -> Permitted:
    """Return the variables that the setting permits. Raises `ValueError` for an invalid entry."""
    return _read(tuple(settings.PROVIDER_KEY_VARIABLES))


@lru_cache(maxsize=4)
def _read(entries: tuple[str, ...]) -> Permitted:
    return Permitted.read(entries)


def key_variable(provider: Provider) -> str:
    """Return the variable that the provider's key is read from; "" if the key is stored or there is no key."""
    return "" if provider.key_encrypted else provider.key_env or provider.kind_spec.key_env


def address_of(provider: Provider) -> str:
    """Return the address that the provider's key is sent to; "" for the embedded model."""
    return provider.base_url or provider.kind_spec.base_url


def problem_of(provider: Provider) -> str | None:
    """Return why the provider's variable is not sent to its address; `None` if it may be, or there is no variable."""
    variable = key_variable(provider)
    return permitted().problem(variable, address_of(provider)) if variable else None


def is_sent_in_the_clear(provider: Provider) -> bool:
    """Return whether the provider has a key that leaves this machine unencrypted."""
    address = urlsplit(address_of(provider))
    has_key = bool(provider.key_encrypted or key_variable(provider))
    return has_key and address.scheme == "http" and not is_loopback((address.hostname or "").lower())
