"""The registry of the parts of the live configuration, from which snapshots and releases are made.

A part declares how it loads into the snapshot and which values a release stores. A part that can be rolled back as a
whole also names its verb. No feature belongs here: each registers its part in its `live_part.py`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import models

from promptops.ledger.models import LiveConfiguration


@dataclass(frozen=True)
class Part:
    """One part of the live configuration. `name` is its key in the values that a release stores."""

    name: str
    noun: str
    """The noun of the audited actions whose releases change this part."""
    load: Callable[[LiveConfiguration], Mapping[str, Any]]
    """Returns the fields of `engine.snapshot.Snapshot` that this part fills."""
    release_values: Callable[[LiveConfiguration], Any]
    """Returns the values that a release stores for good, as JSON. List the columns by name (`columns`), so that a new
    column is stored only after somebody has decided that it is no secret."""


RollBack = Callable[..., Any]
"""`roll_back(revision, *, by, expected, note)` rolls a part back to a revision."""

Restore = Callable[[Any, int], list[str]]
"""`restore(values, revision)` sets a part to values that an earlier release stored, as a piece of release `revision`.
Returns a sentence for each thing that stays as it is because it cannot be restored. The caller records the release."""

ORDER = ("operations", "templates", "providers", "variables", "settings", "safety", "levers")
"""The order of the parts in a release. Other parts follow."""

_parts: dict[str, Part] = {}
_roll_backs: dict[str, RollBack] = {}
_restores: dict[str, Restore] = {}


def register(part: Part) -> None:
    """Add a part. Raises ValueError for a name that is registered already."""
    if part.name in _parts:
        raise ValueError(f"The part {part.name} is registered already.")
    _parts[part.name] = part
    for name in sorted(_parts, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER)):
        _parts[name] = _parts.pop(name)


def rolls_back(name: str) -> Callable[[RollBack], RollBack]:
    """Decorate the verb that rolls the part back to a revision."""

    def decorate(verb: RollBack) -> RollBack:
        _roll_backs[_parts[name].name] = verb
        return verb

    return decorate


def restores(name: str) -> Callable[[Restore], Restore]:
    """Decorate the function that restores the part from the values that an earlier release stored."""

    def decorate(function: Restore) -> Restore:
        _restores[name] = function
        return function

    return decorate


def restore(stored: Mapping[str, Any], revision: int) -> list[str]:
    """Set every part that can be restored to the stored values, as release `revision`.

    Return a sentence for each thing that stays as it is. Older releases do not store every part.
    """
    sentences = []
    for each in _parts.values():
        if each.name in _restores and each.name in stored:
            sentences += _restores[each.name](stored[each.name], revision)
        elif each.name in _restores:
            sentences.append(f"{each.name.capitalize()} stay as they are: that release did not store them.")
    return sentences


def restorable() -> tuple[str, ...]:
    """Return the names of the parts that can be restored, in their order."""
    return tuple(name for name in _parts if name in _restores)


def part(name: str) -> Part:
    """Return the part with that name."""
    return _parts[name]


def can_roll_back(action: str) -> bool:
    """Return whether releases with this action change a part that can be rolled back."""
    return any(each.noun == action.partition(".")[0] and each.name in _roll_backs for each in _parts.values())


def snapshot_fields(config: LiveConfiguration) -> dict[str, Any]:
    """Read all parts as the fields of a snapshot, except its revision."""
    return {name: value for each in _parts.values() for name, value in each.load(config).items()}


def configuration() -> dict[str, Any]:
    """Read the live configuration as a release stores it, without the texts of prompts and without secrets.

    It holds versions by number, the chain in order, the variables, the settings and the safety filter.
    """
    config = LiveConfiguration.objects.get(pk=1)
    return {each.name: each.release_values(config) for each in _parts.values()}


def columns(row: models.Model, names: Iterable[str]) -> dict[str, Any]:
    """Return the named columns of a row."""
    return {name: getattr(row, name) for name in names}
