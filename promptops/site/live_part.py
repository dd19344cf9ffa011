"""The settings of the installation, as part of the live configuration. Changing them is in `actions`."""

from typing import Any

from promptops.engine.snapshot import SettingsSpec
from promptops.ledger import parts
from promptops.ledger.models import LiveConfiguration
from promptops.prompts.content import LIVE_DEFAULTS

RELEASED = (
    "timeout_ms",
    *LIVE_DEFAULTS,
    "run_retention_days",
    "run_deletion_days",
)
"""The columns of the settings that a release keeps. A column that is not named here is never kept."""


def load(config: LiveConfiguration) -> dict[str, Any]:
    """Return the settings of runs."""
    return {
        "settings": SettingsSpec(
            timeout_ms=config.timeout_ms,
            **parts.columns(config, LIVE_DEFAULTS),
        )
    }


def release_values(config: LiveConfiguration) -> dict[str, Any]:
    """Return the settings that a release keeps."""
    return parts.columns(config, RELEASED)


parts.register(parts.Part("settings", "settings", load, release_values))
