"""The newest release, for every page. The pages about releases have their queries in `history`."""

from promptops.ledger.models import Release


def latest_release() -> dict[str, object] | None:
    """Return the newest revision with its author and time, for the live badge; None before the first release."""
    release = Release.objects.first()
    return {"by": release.user_name, "at": release.at, "revision": release.revision} if release else None
