"""The values of a live document: each kind writes a value as JSON data, and reads it again with all its limits.

What the parts of the document are called belongs to `parts.py`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Protocol

from promptops.engine.contracts import Contract
from promptops.engine.contracts.words import quoted, short

MAX_TEXT_CHARACTERS = 1024 * 1024
"""The most characters of one text. PromptOps stores system prompts of at most 64 KiB."""

MAX_NUMBER = 2**53 - 1
"""The largest whole number that every reader of JSON keeps exactly (RFC 8259)."""

MAX_ITEMS = 10_000
"""The most items of a list, such as the templates."""


class InvalidDocument(ValueError):
    """The data is no live document that this version can use. The message is a sentence that says why."""


class Value(Protocol):
    """One kind of value. `read` raises `InvalidDocument`; `where` is the place that its sentence names."""

    def write(self, value: Any) -> Any: ...

    def read(self, data: Any, where: str) -> Any: ...


class _AsItIs:
    """A value that is JSON data already."""

    def write(self, value: Any) -> Any:
        return value


@dataclass(frozen=True)
class Text(_AsItIs):
    """A text of at most `most` characters. With a `pattern` the whole text must match it."""

    most: int = MAX_TEXT_CHARACTERS
    pattern: str = ""
    least: int = 0

    def read(self, data: Any, where: str) -> str:
        """Return the text."""
        if not isinstance(data, str):
            raise InvalidDocument(f"{where} must be a text, not {quoted(data)}.")
        if not self.least <= len(data) <= self.most:
            raise InvalidDocument(f"{where} has {len(data):,} characters; {self.least:,} to {self.most:,} are allowed.")
        if self.pattern and not re.fullmatch(self.pattern, data):
            raise InvalidDocument(f"{where} is not valid: {quoted(data)}.")
        return data


@dataclass(frozen=True)
class Whole(_AsItIs):
    """A whole number."""

    least: int = 0
    most: int = MAX_NUMBER

    def read(self, data: Any, where: str) -> int:
        """Return the number."""
        if type(data) is not int or not self.least <= data <= self.most:
            raise InvalidDocument(
                f"{where} must be a whole number from {self.least:,} to {self.most:,}, not {quoted(data)}."
            )
        return data


@dataclass(frozen=True)
class Number(_AsItIs):
    """A number, which may have a fraction."""

    least: float = 0.0
    most: float = float(MAX_NUMBER)

    def read(self, data: Any, where: str) -> float:
        """Return the number."""
        is_number = type(data) in (int, float) and math.isfinite(data)
        if not is_number or not self.least <= data <= self.most:
            raise InvalidDocument(f"{where} must be a number from {self.least:g} to {self.most:g}, not {quoted(data)}.")
        return float(data) if isinstance(data, float) else data


@dataclass(frozen=True)
class Flag(_AsItIs):
    """True or false."""

    def read(self, data: Any, where: str) -> bool:
        """Return the flag."""
        if not isinstance(data, bool):
            raise InvalidDocument(f"{where} must be true or false, not {quoted(data)}.")
        return data


@dataclass(frozen=True)
class Choice:
    """One of a few texts, read as `make` of the text."""

    choices: Collection[str]
    make: Callable[[str], Any] = str

    def write(self, value: Any) -> str:
        """Return the text of the choice."""
        return str(value)

    def read(self, data: Any, where: str) -> Any:
        """Return the choice."""
        if not isinstance(data, str) or data not in self.choices:
            raise InvalidDocument(f"{where} must be one of {', '.join(self.choices)}, not {quoted(data)}.")
        return self.make(data)


@dataclass(frozen=True)
class Scalar(_AsItIs):
    """A text, a number, true or false: a further field of a request's body."""

    def read(self, data: Any, where: str) -> Any:
        """Return the value."""
        if isinstance(data, bool):
            return data
        if isinstance(data, str):
            return Text().read(data, where)
        return Number(-MAX_NUMBER).read(data, where)


@dataclass(frozen=True)
class Maybe:
    """A value, or null."""

    value: Value

    def write(self, value: Any) -> Any:
        """Return the data of the value."""
        return None if value is None else self.value.write(value)

    def read(self, data: Any, where: str) -> Any:
        """Return the value."""
        return None if data is None else self.value.read(data, where)


@dataclass(frozen=True)
class Items:
    """A list of values, read as `make` of them. A set is written in order. No two items have the same `unique` key."""

    value: Value
    make: Callable[[Iterable[Any]], Collection[Any]] = tuple
    most: int = MAX_ITEMS
    unique: str = ""

    def write(self, value: Collection[Any]) -> list[Any]:
        """Return the data of the items."""
        ordered = sorted(value) if isinstance(value, frozenset) else value
        return [self.value.write(each) for each in ordered]

    def read(self, data: Any, where: str) -> Any:
        """Return the items."""
        if not isinstance(data, list):
            raise InvalidDocument(f"{where} must be a list, not {quoted(data)}.")
        if len(data) > self.most:
            raise InvalidDocument(f"{where} has {len(data):,} items; at most {self.most:,} are allowed.")
        items = [self.value.read(each, f"{where}[{place}]") for place, each in enumerate(data)]
        if self.unique:
            names = [each[self.unique] for each in data]
            if twice := next((name for name, count in Counter(names).items() if count > 1), None):
                raise InvalidDocument(f"{where} has {quoted(twice)} twice.")
        return self.make(items)


@dataclass(frozen=True)
class ByName:
    """Values by name."""

    name: Value
    value: Value
    most: int = MAX_ITEMS

    def write(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        """Return the data of the values, in their order."""
        return {self.name.write(name): self.value.write(each) for name, each in value.items()}

    def read(self, data: Any, where: str) -> Mapping[Any, Any]:
        """Return the values."""
        checked = as_object(data, where)
        if len(checked) > self.most:
            raise InvalidDocument(f"{where} has {len(checked):,} keys; at most {self.most:,} are allowed.")
        return MappingProxyType(
            {
                self.name.read(name, f"A key of {where}"): self.value.read(each, f"{where}.{short(name)}")
                for name, each in checked.items()
            }
        )


@dataclass(frozen=True)
class ContractData:
    """The contract of an answer, as its plain data."""

    def write(self, value: Contract) -> dict[str, Any]:
        """Return the data of the contract."""
        return value.to_data()

    def read(self, data: Any, where: str) -> Contract:
        """Return the contract."""
        try:
            return Contract.from_data(as_object(data, where))
        except InvalidDocument:
            raise
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidDocument(f"{where} is not valid: {str(error).rstrip('.')}.") from None


@dataclass(frozen=True)
class Moment:
    """A time in UTC, such as "2026-01-31T12:00:00.000000Z"."""

    def write(self, value: datetime) -> str:
        """Return the text of the time."""
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

    def read(self, data: Any, where: str) -> datetime:
        """Return the time."""
        try:
            moment = datetime.fromisoformat(data).astimezone(UTC)
        except (TypeError, ValueError, OverflowError):
            moment = None
        if moment is None or self.write(moment) != data:
            raise InvalidDocument(
                f'{where} must be a time in UTC such as "2026-01-31T12:00:00.000000Z", not {quoted(data)}.'
            )
        return moment


@dataclass(frozen=True)
class Entry:
    """One attribute of a part, under `key` (by default its own name).

    An entry with a `default` came after the first release of the format. It is left out where it has its default, so
    that a document without it stays the same, and an older client can read it.
    """

    attribute: str
    value: Value
    key: str = ""
    default: Any = ...

    @property
    def name(self) -> str:
        """Return the key in the document."""
        return self.key or self.attribute


@dataclass(frozen=True)
class Part:
    """One dataclass as an object.

    `left_out` gives the reason for each attribute that is not in the document, and `blanks` the value with which such
    an attribute is read, if the dataclass has no default for it.
    """

    make: type
    entries: tuple[Entry, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    blanks: Mapping[str, Any] = field(default_factory=dict)

    def write(self, value: Any) -> dict[str, Any]:
        """Return the data of the part."""
        written = {}
        for entry in self.entries:
            attribute = getattr(value, entry.attribute)
            if entry.default is ... or attribute != entry.default:
                written[entry.name] = entry.value.write(attribute)
        return written

    def read(self, data: Any, where: str) -> Any:
        """Return the dataclass. `where` is "" for the document itself."""
        return self.made(self.values(data, where), where)

    def values(self, data: Any, where: str) -> dict[str, Any]:
        """Return the attributes by name. Raises `InvalidDocument` for a missing and for an unknown key."""
        checked = as_object(data, where or "The live document")
        keys = [entry.name for entry in self.entries]
        if unknown := next((key for key in checked if key not in keys), None):
            raise InvalidDocument(
                f"{where or 'The live document'} has the unknown key {quoted(unknown)}. A newer version of PromptOps "
                "may have added it: upgrade this client."
            )
        values = {}
        for entry in self.entries:
            place = f"{where}.{entry.name}" if where else entry.name
            if entry.name in checked:
                values[entry.attribute] = entry.value.read(checked[entry.name], place)
            elif entry.default is ...:
                raise InvalidDocument(f"{place} is missing.")
        return values

    def made(self, values: Mapping[str, Any], where: str) -> Any:
        """Return the dataclass with these attributes. Raises `InvalidDocument` if they contradict each other."""
        try:
            return self.make(**self.blanks, **values)
        except (ValueError, TypeError) as error:
            raise InvalidDocument(f"{where} is not valid: {str(error).rstrip('.')}.") from None


def as_object(data: Any, where: str) -> Mapping[str, Any]:
    """Return the data if it is an object. Raises `InvalidDocument`."""
    if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
        raise InvalidDocument(f"{where} must be an object, not {quoted(data)}.")
    return data
