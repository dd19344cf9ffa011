"""The closed sets of words about servers and levers."""

from django.db import models


class ServerKind(models.TextChoices):
    """The way in which a server follows the live configuration."""

    LIBRARY = "library", "Library"
    FILES = "files", "Files"
    PROCESS = "process", "PromptOps"


class ReportedState(models.TextChoices):
    """The state that a server reports of itself."""

    READY = "ready", "Ready"
    STALE = "stale", "Stale"
    OFFLINE = "offline", "Offline"
    REFUSED = "refused", "Refused"


class Outcome(models.TextChoices):
    """The reaction of a server to a revision."""

    APPLIED = "applied", "Applied"
    REFUSED = "refused", "Refused"
    DRIFTED = "drifted", "Drifted"


class Standing(models.TextChoices):
    """The standing of a server against what is live now, worst first."""

    REFUSED = "refused", "Refused"
    DRIFTED = "drifted", "Drifted"
    LAGGING = "lagging", "Lagging"
    SILENT = "silent", "Silent"
    UPDATING = "updating", "Updating"
    CURRENT = "current", "Current"

    @property
    def tone(self) -> str:
        """Return the look of the chip."""
        return {"current": "ok", "updating": "accent", "silent": "warn", "lagging": "warn"}.get(self.value, "bad")


class LeverKind(models.TextChoices):
    """The levers that hold until they end. "Last good" is a release and has no end."""

    FREEZE = "freeze", "Freeze"
    PASS_THROUGH = "pass_through", "Pass-through"
