"""The context of every page's frame: navigation, the live badge and the command bar."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from promptops.ledger import queries as releases
from promptops.live import polling
from promptops.people.enums import Permission
from promptops.prompts.queries import templates
from promptops.runs.actions.recording import recorder


@dataclass(frozen=True)
class NavItem:
    label: str
    name: str  # of the URL
    icon: str
    key: str
    also: tuple[str, ...] = ()  # the URLs of other pages of this item

    def for_page(self, path: str) -> dict[str, Any]:
        url = reverse(self.name)
        below = [url, *map(reverse, self.also)]
        current = path == url or any(start != "/" and path.startswith(start) for start in below)
        return {"label": self.label, "url": url, "icon": self.icon, "key": self.key, "current": current}


NAV = [
    NavItem("Overview", "overview", "layout-dashboard", "g o"),
    NavItem("Prompts", "prompts", "file-text", "g p", also=("variables", "operations")),
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
        "nav": [item.for_page(request.path) for item in NAV],
        "heads": getattr(request, "heads", None) or SimpleLazyObject(polling.heads),
        "recording": recorder.status,
        "live_note": SimpleLazyObject(releases.latest_release),
        "commands": SimpleLazyObject(lambda: _commands(user)),
        "may": {permission.value: user.may(permission) for permission in Permission},
    }


def _commands(user: Any) -> list[dict[str, str]]:
    commands = [{"label": item.label, "url": reverse(item.name), "hint": "Page"} for item in NAV]
    commands.append({"label": "Timeline of releases", "url": reverse("timeline"), "hint": "Page"})
    for template in templates.open_templates():
        commands.append(
            {"label": template.name, "url": reverse("template", args=[template.name]), "hint": template.operation}
        )
    commands.append({"label": "Variables", "url": reverse("variables"), "hint": "Page"})
    commands.append({"label": "Operations", "url": reverse("operations"), "hint": "Page"})
    if user.may(Permission.EDIT):
        commands.append({"label": "New template", "url": reverse("template_new"), "hint": "Action"})
        commands.append({"label": "New prompt set", "url": reverse("prompt_set_new"), "hint": "Action"})
    if user.may(Permission.ADMINISTER):
        commands.append({"label": "Add a provider", "url": reverse("provider_new"), "hint": "Action"})
        commands.append({"label": "People and roles", "url": reverse("people"), "hint": "Page"})
    commands.append({"label": "Your sessions", "url": reverse("sessions"), "hint": "Page"})
    commands.append({"label": "Change your password", "url": reverse("password"), "hint": "Action"})
    return commands
