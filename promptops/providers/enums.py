"""Closed sets of providers. The kinds themselves are declared in `engine.providers.kinds`."""

from promptops.engine.providers.kinds import KINDS


def provider_kind_choices() -> list[tuple[str, str]]:
    """Return the provider kinds as choices of a field."""
    return [(kind.name, kind.label) for kind in KINDS.values()]
