"""The registry of audited actions: each feature declares its nouns, kinds of objects and actions beside its verbs.

Everything that names actions is derived from these declarations: sentences, filters, links to objects, labels of
values, the latest changes of the overview, and the table in docs/audit.md. Nothing here reads the database.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.urls import NoReverseMatch

if TYPE_CHECKING:
    from promptops.ledger.models import AuditEntry


@dataclass(frozen=True)
class Action:
    """One kind of audit entry.

    `name` is a noun, a dot and a verb. In `sentence`, {actor} and {object} are names; {before[...]} and {after[...]}
    are values of the entry. `when` completes the row of docs/audit.md.
    """

    name: str
    sentence: str
    when: str
    object: str = ""
    """The kind of the object (`ObjectKind.name`); "" where entries have no object, or only its name."""
    is_change: bool = True
    """Whether the overview lists it among the latest changes. Sign-ins, refusals, exports and looks are no changes."""
    makes_version_live: bool = False
    """Whether its release points a template at another version."""

    @property
    def noun(self) -> str:
        return self.name.partition(".")[0]

    @property
    def label(self) -> str:
        """The verb, as the filter shows it below its noun."""
        return self.name.partition(".")[2].replace("_", " ").capitalize()


@dataclass(frozen=True)
class ObjectKind:
    """A kind of object that entries are about: the name of its model, and its label in the filter.

    `url` returns the address of the page that shows the object of an entry.
    """

    name: str
    label: str
    url: "Callable[[AuditEntry], str] | None" = None


class UnknownAction(KeyError):
    """An action that no feature has declared."""

    def __str__(self) -> str:
        return f"No feature declares the audit action {self.args[0]!r}. Register it beside the verb that records it."


_nouns: dict[str, str] = {}
_kinds: dict[str, ObjectKind] = {}
_actions: dict[str, Action] = {}
_value_labels: dict[str, str] = {}


def noun(name: str, label: str) -> None:
    """Declare the noun before the dot of actions' names, and its label in the filter."""
    _declare(_nouns, name, label)


def object_kind(name: str, label: str, url: "Callable[[AuditEntry], str] | None" = None) -> None:
    """Declare a kind of object that actions may name."""
    _declare(_kinds, name, ObjectKind(name, label, url))


def register(*actions: Action) -> None:
    """Declare actions. Raises ValueError for a name that is declared already."""
    for action in actions:
        _declare(_actions, action.name, action)


def value_labels(labels: dict[str, str]) -> None:
    """Declare how pages label values of entries whose name alone would read badly."""
    for name, label in labels.items():
        _declare(_value_labels, name, label)


def _declare(known: dict[str, Any], name: str, declaration: Any) -> None:
    if name in known:
        raise ValueError(f"{name} is declared already.")
    known[name] = declaration


def action(name: str) -> Action:
    """Return the action of that name, or raise UnknownAction."""
    try:
        return _actions[name]
    except KeyError:
        raise UnknownAction(name) from None


def sentence_of(name: str) -> str | None:
    """Return the action's sentence; None for an action that an earlier release of PromptOps declared."""
    known = _actions.get(name)
    return known.sentence if known else None


def actions() -> tuple[Action, ...]:
    """Return all actions, by the label of their noun and then by name, whatever was imported first."""
    return tuple(sorted(_actions.values(), key=lambda each: (_nouns[each.noun], each.name)))


def names(selected: Callable[[Action], bool] = lambda action: True) -> tuple[str, ...]:
    """Return the names of the actions that `selected` accepts, in the order of `actions`."""
    return tuple(each.name for each in actions() if selected(each))


def version_releases() -> tuple[str, ...]:
    """Return the names of the actions that make a version of a template live."""
    return names(lambda action: action.makes_version_live)


def noun_label(name: str) -> str:
    """Return the label of a noun."""
    return _nouns[name]


def kinds() -> tuple[ObjectKind, ...]:
    """Return all kinds of objects, by label."""
    return tuple(sorted(_kinds.values(), key=lambda kind: kind.label))


def value_label(name: str) -> str:
    """Return the label of a value of an entry."""
    return _value_labels.get(name) or name.replace("_", " ").capitalize()


def object_url(entry: "AuditEntry") -> str:
    """Return the address of the page of the entry's object; "" where there is none."""
    kind = _kinds.get(entry.object_type)
    if kind is None or kind.url is None:
        return ""
    try:
        return kind.url(entry)
    except NoReverseMatch:  # a name that is no longer one that an address can hold
        return ""
