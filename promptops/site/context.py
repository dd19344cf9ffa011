"""The context of every page's frame: navigation and the live badge."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from promptops.fleet import now as fleet
from promptops.fleet.queries.levers import holding
from promptops.fleet.queries.rollouts import Rollout, rollout
from promptops.ledger import queries as releases
from promptops.live import polling
from promptops.people.enums import Permission
from promptops.prompts.queries.handover import waiting
from promptops.runs.actions.recording import recorder

ROLLOUT_SHOWN_FOR = timedelta(seconds=60)
"""After their own release, people see on the next page how it reaches the servers."""


@dataclass(frozen=True)
class NavItem:
    label: str
    name: str  # of the URL
    icon: str
    key: str
    also: tuple[str, ...] = ()  # the URLs of its other pages
    count: str = ""  # the template of a number that releasers see

    def for_page(self, path: str) -> dict[str, Any]:
        url = reverse(self.name)
        below = [url, *map(reverse, self.also)]
        current = path == url or any(start != "/" and path.startswith(start) for start in below)
        return {
            "label": self.label,
            "url": url,
            "icon": self.icon,
            "key": self.key,
            "current": current,
            "count": self.count,
        }


NAV = [
    NavItem("Overview", "overview", "layout-dashboard", "g o"),
    NavItem(
        "Prompts",
        "prompts",
        "file-text",
        "g p",
        also=("variables", "operations", "prompt_files", "texts_import", "release_requests"),
        count="prompts/_requests_count.html",
    ),
    NavItem("Providers", "providers", "plug", "g v"),
    NavItem("Compare", "comparisons", "scale", "g c"),
    NavItem("Runs", "runs", "play", "g r"),
    NavItem("Safety", "safety", "shield", "g s"),
    NavItem("Fleet", "fleet", "server", "g f"),
    NavItem("Audit", "audit", "scroll-text", "g a"),
    NavItem("Settings", "settings", "settings", "g ,"),
]


def own_rollout(newest: Any, user: Any) -> Rollout | None:
    """Return the roll-out of the newest release if this person has just made it, and there are servers."""
    if not newest or newest["user"] != user.pk or timezone.now() - newest["at"] > ROLLOUT_SHOWN_FOR:
        return None
    shown = rollout(newest["revision"])
    return shown if shown.total else None


def frame(request: HttpRequest) -> dict[str, Any]:
    """Return the context of base.html. Lazy values: only pages that show them read the database."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {}
    newest = SimpleLazyObject(releases.latest_release)
    return {
        "command": settings.COMMAND,
        "nav": [item.for_page(request.path) for item in NAV],
        "heads": getattr(request, "heads", None) or SimpleLazyObject(polling.heads),
        "recording": recorder.status,
        "fleet": SimpleLazyObject(fleet.counts),
        "waiting": SimpleLazyObject(waiting),
        "levers": SimpleLazyObject(holding),
        "own_rollout": SimpleLazyObject(lambda: own_rollout(newest, user)),
        "live_note": newest,
        "may": {permission.value: user.may(permission) for permission in Permission},
    }
