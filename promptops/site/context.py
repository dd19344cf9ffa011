"""The context of every page's frame: navigation and the live badge."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from promptops.ledger import queries as releases
from promptops.live import polling
from promptops.people.enums import Permission
from promptops.runs.actions.recording import recorder


@dataclass(frozen=True)
class NavItem:
    label: str
    name: str  # of the URL
    icon: str
    key: str
    also: tuple[str, ...] = ()  # the URLs of its other pages

    def for_page(self, path: str) -> dict[str, Any]:
        url = reverse(self.name)
        below = [url, *map(reverse, self.also)]
        current = path == url or any(start != "/" and path.startswith(start) for start in below)
        return {"label": self.label, "url": url, "icon": self.icon, "key": self.key, "current": current}


NAV = [
    NavItem("Overview", "overview", "layout-dashboard", "g o"),
    NavItem("Prompts", "prompts", "file-text", "g p", also=("variables", "operations", "prompt_files")),
    NavItem("Providers", "providers", "plug", "g v"),
    NavItem("Compare", "comparisons", "scale", "g c"),
    NavItem("Runs", "runs", "play", "g r"),
    NavItem("Safety", "safety", "shield", "g s"),
    NavItem("Audit", "audit", "scroll-text", "g a"),
    NavItem("Settings", "settings", "settings", "g ,"),
]


def frame(request: HttpRequest) -> dict[str, Any]:
    """Return the context of base.html. Lazy values: only pages that show them read the database."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {}
    return {
        "command": settings.COMMAND,
        "nav": [item.for_page(request.path) for item in NAV],
        "heads": getattr(request, "heads", None) or SimpleLazyObject(polling.heads),
        "recording": recorder.status,
        "live_note": SimpleLazyObject(releases.latest_release),
        "may": {permission.value: user.may(permission) for permission in Permission},
    }
