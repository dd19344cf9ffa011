"""The backend of sessions that began by single sign-on. Passwords belong to Django's own backend."""

from typing import Any

from django.contrib.auth.backends import ModelBackend

SIGN_ON_BACKEND = "promptops.people.backends.SingleSignOn"


class SingleSignOn(ModelBackend):
    """Marks a session as begun by single sign-on. It accepts no password."""

    def authenticate(self, request: Any, **credentials: Any) -> None:  # type: ignore[override]
        """Refuse to judge a password: the next backend does."""
        return
