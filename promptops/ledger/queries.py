"""The newest release, for every page. The pages about releases have their queries in `history`."""

from typing import Any

from promptops.ledger.models import Release


def latest_release() -> dict[str, Any] | None:
    """Return the newest revision with its author and time, for the live badge; None before the first release."""
    release = Release.objects.first()
    if release is None:
        return None
    return {"by": release.user_name, "user": release.user_id, "at": release.at, "revision": release.revision}
