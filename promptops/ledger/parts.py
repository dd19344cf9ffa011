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


@dataclass(frozen=True)
class Restoration:
    """Restoring a part to the values of an earlier release. It is planned by reading only; nothing waits for it.

    `after` has the values that the next release stores of the part, `stays` a sentence for each thing that stays as it
    is because it cannot be restored. `save(revision)` writes the rows as a piece of that release.
    """

    after: Any
    stays: list[str]
    save: Callable[[int], None]


PlanRestoration = Callable[[Any], Restoration]
"""`plan(values)` returns how the part is restored to values that an earlier release stored."""

ORDER = ("operations", "templates", "providers", "variables", "settings", "safety", "levers")
"""The order of the parts in a release. Other parts follow."""

_parts: dict[str, Part] = {}
_roll_backs: dict[str, RollBack] = {}
_restores: dict[str, PlanRestoration] = {}


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


def restores(name: str) -> Callable[[PlanRestoration], PlanRestoration]:
    """Decorate the function that plans how the part is restored to the values that an earlier release stored."""

    def decorate(function: PlanRestoration) -> PlanRestoration:
        _restores[name] = function
        return function

    return decorate


def restorations(stored: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Restoration]:
    """Return how each part that can be restored is restored to the stored values. `now` has the live values.

    Older releases do not store every part.
    """
    return {
        name: _restores[name](stored[name]) if name in stored else _left_alone(name, now[name]) for name in restorable()
    }


def _left_alone(name: str, now: Any) -> Restoration:
    sentence = f"{name.capitalize()} stay as they are: that release did not store them."
    return Restoration(now, [sentence], lambda revision: None)


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
