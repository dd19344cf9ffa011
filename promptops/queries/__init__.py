"""Reads that are more than one line: they return rows or frozen dataclasses, ready for a template."""

from promptops.models import Release
from promptops.polling import heads
from promptops.queries import overview, presence, providers, samples, templates, variables

__all__ = ["heads", "latest_release", "overview", "presence", "providers", "samples", "templates", "variables"]


def latest_release() -> dict[str, object] | None:
    """Who made the newest revision and when, for the live badge; None before the first release."""
    release = Release.objects.first()
    return {"by": release.user_name, "at": release.at, "revision": release.revision} if release else None
