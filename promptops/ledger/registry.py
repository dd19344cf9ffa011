"""The registry of audited actions. Each feature declares its nouns, kinds of objects and actions beside its verbs.

Sentences, filters, links to objects, labels of values, the latest changes on the overview and the table in
docs/audit.md are derived from these declarations. No action is declared here, and nothing here reads the database.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from django.urls import NoReverseMatch

if TYPE_CHECKING:
    from promptops.ledger.models import AuditEntry

Values: TypeAlias = dict[str, Any]


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
    """The kind of the object (`ObjectKind.name`); "" if entries have no object, or only its name."""
    is_change: bool = True
    """True: the overview lists it among the latest changes. Sign-ins, refusals, exports and views are no changes."""
    makes_version_live: bool = False
    """True: its release makes a version of a template live."""
    makes_versions_live: bool = False
    """True: its release may make versions of several templates live. Only its configuration says which."""
    passes_freeze: bool | Callable[[Values, Values], bool] = False
    """True if its release is possible during a freeze. A function gets the values before and after the release."""

    @property
    def noun(self) -> str:
        """Return the part of the name before the dot."""
        return self.name.partition(".")[0]

    def may_pass_freeze(self, before: Values, after: Values) -> bool:
        """Return whether a release with these values is possible during a freeze."""
        return self.passes_freeze(before, after) if callable(self.passes_freeze) else self.passes_freeze

    @property
    def label(self) -> str:
        """Return the verb as the filter shows it below the noun."""
        return self.name.partition(".")[2].replace("_", " ").capitalize()


@dataclass(frozen=True)
class ObjectKind:
    """A kind of object of entries: the name of its model, and its label in the filter.

    `url` returns the address of the page that shows an entry's object.
    """

    name: str
    label: str
    url: "Callable[[AuditEntry], str] | None" = None


class UnknownAction(KeyError):
    """No feature declares the action."""

    def __str__(self) -> str:
        return f"No feature declares the audit action {self.args[0]!r}. Register it beside the verb that records it."


_nouns: dict[str, str] = {}
_kinds: dict[str, ObjectKind] = {}
_actions: dict[str, Action] = {}
_value_labels: dict[str, str] = {}


def noun(name: str, label: str) -> None:
    """Declare a noun (the part of an action's name before the dot) and its label in the filter."""
    _declare(_nouns, name, label)


def object_kind(name: str, label: str, url: "Callable[[AuditEntry], str] | None" = None) -> None:
    """Declare a kind of object."""
    _declare(_kinds, name, ObjectKind(name, label, url))


def register(*actions: Action) -> None:
    """Declare actions. Raises ValueError for a name that is declared already."""
    for action in actions:
        _declare(_actions, action.name, action)


def value_labels(labels: dict[str, str]) -> None:
    """Declare labels for values of entries. Without one, a page makes the label from the value's name."""
    for name, label in labels.items():
        _declare(_value_labels, name, label)


def _declare(known: dict[str, Any], name: str, declaration: Any) -> None:
    if name in known:
        raise ValueError(f"{name} is declared already.")
    known[name] = declaration


def action(name: str) -> Action:
    """Return the action with that name. Raises UnknownAction."""
    try:
        return _actions[name]
    except KeyError:
        raise UnknownAction(name) from None


def sentence_of(name: str) -> str | None:
    """Return the action's sentence; None for an action that only an earlier release of PromptOps declared."""
    known = _actions.get(name)
    return known.sentence if known else None


def actions() -> tuple[Action, ...]:
    """Return all actions, sorted by the label of their noun, then by name."""
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
    return _value_labels.get(name) or name.removesuffix("_ms").replace("_", " ").capitalize()


def shown_value(name: str, value: Any) -> Any:
    """Return the value of an entry as pages show it: seconds where milliseconds are stored."""
    return f"{value / 1000:g} s" if name.endswith("_ms") and isinstance(value, int | float) else value


def object_url(entry: "AuditEntry") -> str:
    """Return the address of the page that shows the entry's object; "" if there is no such page."""
    kind = _kinds.get(entry.object_type)
    if kind is None or kind.url is None:
        return ""
    try:
        return kind.url(entry)
    except NoReverseMatch:  # an old name that no address can contain today
        return ""
