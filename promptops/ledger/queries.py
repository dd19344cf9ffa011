"""Releases as every page shows them."""

from promptops.ledger.models import Release


def latest_release() -> dict[str, object] | None:
    """Return who made the newest revision and when, for the live badge; None before the first release."""
    release = Release.objects.first()
    return {"by": release.user_name, "at": release.at, "revision": release.revision} if release else None
