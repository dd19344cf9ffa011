"""Releases for pages of every feature. The pages about releases have their queries in `history`."""

from collections.abc import Collection
from typing import Any

from promptops.ledger.configurations import DamagedConfiguration, unpack
from promptops.ledger.models import Release


def latest_release() -> dict[str, Any] | None:
    """Return the newest revision with its author and time, for the live badge; None before the first release."""
    release = Release.objects.first()
    if release is None:
        return None
    return {"by": release.user_name, "user": release.user_id, "at": release.at, "revision": release.revision}


def configurations(revisions: Collection[int]) -> dict[int, dict[str, Any]]:
    """Return what was live from each of the revisions on, by two queries. Unknown and damaged ones are left out."""
    rows = Release.objects.filter(pk__in=revisions).exclude(packed_configuration=None)
    stored = list(rows.values_list("revision", "packed_configuration", "changes_since"))
    whole = Release.objects.filter(pk__in={since for *_, since in stored if since}, changes_since=None)
    bases = dict(whole.values_list("revision", "packed_configuration"))
    found = {}
    for revision, packed, since in stored:
        try:
            found[revision] = unpack(bytes(packed or b""), bytes(bases.get(since) or b"") if since else None)
        except DamagedConfiguration:
            continue  # the page of the revision says so
    return found
