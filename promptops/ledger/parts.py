"""The parts of the live configuration: each feature registers one, and the snapshot and releases are views of them.

A part says how it loads into the snapshot, what of it a release keeps, and how it is rolled back where it can be as a
whole. This module knows no feature: each has its part in `live_part.py`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import models

from promptops.ledger.models import LiveConfiguration


@dataclass(frozen=True)
class Part:
    """One part of what is live. `name` is its key in what a release keeps."""

    name: str
    noun: str
    """The noun of the audited actions whose releases change this part."""
    load: Callable[[LiveConfiguration], Mapping[str, Any]]
    """Returns the fields of `engine.snapshot.Snapshot` that this part fills."""
    release_values: Callable[[LiveConfiguration], Any]
    """Returns what a release keeps for good, as JSON. Name what is kept (`columns`), so that a new column is left out
    until somebody decides that it is no secret."""


RollBack = Callable[..., Any]
"""`roll_back(revision, *, by, expected, note)`: makes a part live again as a revision had it."""

ORDER = ("templates", "providers", "variables", "settings", "safety")
"""The parts of a release in the order in which it keeps them; a part that is not named here comes after them."""

_parts: dict[str, Part] = {}
_roll_backs: dict[str, RollBack] = {}


def register(part: Part) -> None:
    """Add a part. Raises ValueError for a name that is registered already."""
    if part.name in _parts:
        raise ValueError(f"The part {part.name} is registered already.")
    _parts[part.name] = part
    for name in sorted(_parts, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER)):
        _parts[name] = _parts.pop(name)


def rolls_back(name: str) -> Callable[[RollBack], RollBack]:
    """Decorate the verb that makes the part live again as a revision had it."""

    def decorate(verb: RollBack) -> RollBack:
        _roll_backs[_parts[name].name] = verb
        return verb

    return decorate


def part(name: str) -> Part:
    """Return the part of that name."""
    return _parts[name]


def can_roll_back(action: str) -> bool:
    """Return whether the part that a release of this action changed can be rolled back to that release."""
    return any(each.noun == action.partition(".")[0] and each.name in _roll_backs for each in _parts.values())


def snapshot_fields(config: LiveConfiguration) -> dict[str, Any]:
    """Read all parts, as the fields of a snapshot but its revision."""
    return {name: value for each in _parts.values() for name, value in each.load(config).items()}


def configuration() -> dict[str, Any]:
    """Read what is live now, as a release keeps it: versions by number, chain in order, variables, settings, filter.

    No texts of prompts, and no secrets.
    """
    config = LiveConfiguration.objects.get(pk=1)
    return {each.name: each.release_values(config) for each in _parts.values()}


def columns(row: models.Model, names: Iterable[str]) -> dict[str, Any]:
    """Return the named columns of a row."""
    return {name: getattr(row, name) for name in names}
