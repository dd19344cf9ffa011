"""The request header that carries a provider's key. `promptops/providers` decides where a key may go."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AuthHeader:
    """The name of the request header that carries a key, and the text before the key."""

    name: str = "Authorization"
    prefix: str = ""


BEARER = AuthHeader(prefix="Bearer ")


class BearerKey:
    """A key to send. It is an object, so that a traceback that shows variables does not show the key."""

    def __init__(self, key: str, auth: AuthHeader = BEARER) -> None:
        self._key = key
        self._auth = auth

    def header(self) -> tuple[str, str]:
        """Return the name and the value of the request header that carries the key."""
        return self._auth.name, self._auth.prefix + self._key
