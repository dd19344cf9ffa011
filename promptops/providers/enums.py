"""Closed sets of providers. The kinds themselves are declared in `engine.providers.kinds`."""

from django.db import models

from promptops.engine.providers.kinds import KINDS


class JsonModeChoice(models.TextChoices):
    """The part of a request that asks for JSON; "" leaves the choice to the provider's kind."""

    NONE = "none", "Nothing"
    OBJECT = "object", "A JSON object"
    SCHEMA = "schema", "JSON that fits the schema"


def provider_kind_choices() -> list[tuple[str, str]]:
    """Return the provider kinds as choices of a field."""
    return [(kind.name, kind.label) for kind in KINDS.values()]
