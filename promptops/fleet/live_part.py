"""The levers as a part of the live configuration. Last good does not restore them: each ends by itself."""

from typing import Any

from promptops.engine import snapshot
from promptops.fleet.models import Lever
from promptops.ledger import parts
from promptops.ledger.models import LiveConfiguration

RELEASED = ("kind", "operation", "note")
"""The columns of a lever that a release stores as they are."""


def load(config: LiveConfiguration) -> dict[str, Any]:
    """Read the levers that no release has ended. A snapshot knows the time, so it also knows which ones hold."""
    return {"levers": tuple(lever_of(row) for row in _pulled())}


def release_values(config: LiveConfiguration) -> list[dict[str, Any]]:
    """Read the levers as a release stores them."""
    return [
        {**parts.columns(row, RELEASED), "expires_at": row.expires_at.isoformat(), "by": row.user_name}
        for row in _pulled()
    ]


def _pulled() -> list[Lever]:
    return list(Lever.objects.filter(ended_at=None).order_by("pk"))


def lever_of(row: Lever) -> snapshot.Lever:
    """Return the lever as a snapshot has it."""
    kind: snapshot.LeverKind = "freeze" if row.kind == "freeze" else "pass_through"
    return snapshot.Lever(kind, row.operation, row.expires_at, row.note, row.user_name)


parts.register(parts.Part("levers", "lever", load, release_values))
