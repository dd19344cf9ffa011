"""The kinds of contract: what an answer must be, and reading an answer by it.

Checking a JSON Schema and finding the JSON in an answer belong to `schemas.py` and `json_text.py`; the consequences of
a breach belong to the chain.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from promptops.engine.answers import AnswerShape, Reading, parse_alternatives, read_answer, split_reasoning
from promptops.engine.answers.refusals import REFUSAL_LIMIT
from promptops.engine.contracts.json_text import Opening, Unreadable, find_json
from promptops.engine.contracts.schemas import (
    MAX_PROBLEMS,
    CompiledSchema,
    closed_out,
    compiled,
    has_free_keys,
    is_strict,
    keys,
    required_keys,
    schema_text,
    values,
)
from promptops.engine.contracts.words import count_words, counted, expected, quoted, short
from promptops.engine.errors import LLMContractError

MAX_WORDS = 10_000
MAX_COUNT = 50
MAX_PHRASES = 20
MAX_PHRASE_CHARACTERS = 200
MAX_SCHEMAS = 4
"""The most schemas of one contract: the operation's, and those that narrow it."""

Own = TypeVar("Own", bound="Contract")


class Contract(ABC):
    """A rule for answers. It is immutable, made from and written as plain JSON data.

    `kind` is its name in this data. `shape` is the shape in which the answer is read; `None` for JSON.
    """

    kind: ClassVar[str]
    shape: ClassVar[AnswerShape | None]

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> Contract:
        """Return the contract in `data`. Raises `ValueError` with a sentence for data that is not valid."""
        if not isinstance(data, Mapping):
            raise ValueError("A contract is an object")
        kind = data.get("kind")
        if not isinstance(kind, str) or kind not in CONTRACTS:
            raise ValueError(f"Unknown kind of contract {quoted(kind)}; known are {', '.join(CONTRACTS)}")
        own = CONTRACTS[kind]
        names = own._names()
        unknown = [key for key in data if key != "kind" and key not in names]
        if unknown:
            raise ValueError(f"A {kind} contract has no {short(str(unknown[0]))}; known are {', '.join(names)}")
        return own._from({key: value for key, value in data.items() if key != "kind"})

    @abstractmethod
    def to_data(self) -> dict[str, Any]:
        """Return the contract as plain JSON data, without what is left at its default."""

    @property
    def is_checked(self) -> bool:
        """Return whether an answer can break the contract. A plain text cannot, and may be streamed as it arrives."""
        return True

    @property
    @abstractmethod
    def wanted(self) -> str:
        """Return what a model has to answer with, for "Answer again with ..."."""

    @abstractmethod
    def read(self, written: str) -> Reading:
        """Return the answer in the text `written`. Raises `LLMContractError` for a breach, and nothing else.

        A refusal and an empty answer are no breach: the reading says so.
        """

    @abstractmethod
    def _narrowed_by(self: Own, other: Own) -> Own: ...

    def narrowed_by(self, other: Contract | None) -> Contract:
        """Return the contract whose answers keep both this one, of an operation, and `other`, of a version.

        Raises `ValueError` with a sentence if `other` allows what this contract does not.
        """
        if other is None:
            return self
        if other.kind != self.kind:
            raise ValueError(f"A {other.kind} contract does not narrow a {self.kind} contract")
        return self._narrowed_by(other)

    @classmethod
    def _names(cls) -> tuple[str, ...]:
        return tuple(field.name for field in fields(cls))  # type: ignore[arg-type]

    @classmethod
    def _from(cls, values: dict[str, Any]) -> Contract:
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


@dataclass(frozen=True)
class TextContract(Contract):
    """One text, without everything that is clearly wrapped around it.

    `one_paragraph` allows no line break. `max_words` limits its words; each character of Chinese and Japanese is a
    word. The text must contain each of `contains` and none of `excludes`, in any case.
    """

    kind = "text"
    shape = "text"

    one_paragraph: bool = False
    max_words: int | None = None
    contains: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.one_paragraph, bool):
            raise ValueError(f"one_paragraph is true or false, not {quoted(self.one_paragraph)}")
        if self.max_words is not None:
            _check_number("max_words", self.max_words, MAX_WORDS)
        _check_phrases("contains", self.contains)
        _check_phrases("excludes", self.excludes)
        for phrase in self.contains:
            if any(other.casefold() in phrase.casefold() for other in self.excludes):
                raise ValueError(f'No text can contain "{short(phrase)}" and keep to excludes')

    def to_data(self) -> dict[str, Any]:
        """Return the contract as plain JSON data."""
        data: dict[str, Any] = {"kind": self.kind}
        for name in self._names():
            if value := getattr(self, name):
                data[name] = list(value) if isinstance(value, tuple) else value
        return data

    @property
    def is_checked(self) -> bool:
        """Return whether there is anything to check."""
        return self != TextContract()

    @property
    def wanted(self) -> str:
        """Return what a model has to answer with."""
        return "the text alone"

    def read(self, written: str) -> Reading:
        """Return the text as read. Raises `LLMContractError`."""
        reading = read_answer(written, "text")
        if reading.refusal or not reading.text.strip() or not self.is_checked:
            return reading
        _raise_if(self._problems(reading.text))
        return reading

    def _problems(self, text: str) -> list[str]:
        problems = []
        paragraphs = sum(1 for line in text.splitlines() if line.strip())
        if self.one_paragraph and paragraphs > 1:
            problems.append(f"the text has {paragraphs:,} paragraphs, 1 expected")
        if self.max_words is not None and (words := count_words(text)) > self.max_words:
            problems.append(f"the text {expected(words, 'word', None, self.max_words)}")
        folded = text.casefold()
        problems += [
            f'the text does not contain "{short(each)}"' for each in self.contains if each.casefold() not in folded
        ]
        problems += [f'the text contains "{short(each)}"' for each in self.excludes if each.casefold() in folded]
        return problems

    def _narrowed_by(self, other: TextContract) -> TextContract:
        limits = [limit for limit in (self.max_words, other.max_words) if limit is not None]
        if self.max_words and other.max_words and other.max_words > self.max_words:
            raise ValueError(f"The version allows {other.max_words} words, and the operation {self.max_words}")
        return TextContract(
            one_paragraph=self.one_paragraph or other.one_paragraph,
            max_words=min(limits, default=None),
            contains=tuple(dict.fromkeys(self.contains + other.contains)),
            excludes=tuple(dict.fromkeys(self.excludes + other.excludes)),
        )


@dataclass(frozen=True)
class LinesContract(Contract):
    """`count` alternatives, in any form that `parse_alternatives` reads. Further ones are left out.

    With `at_least`, fewer than `count` keep the contract, too, down to this number.
    """

    kind = "lines"
    shape = "lines"

    count: int
    at_least: int | None = None

    def __post_init__(self) -> None:
        _check_number("count", self.count, MAX_COUNT)
        if self.at_least is not None:
            _check_number("at_least", self.at_least, self.count)

    def to_data(self) -> dict[str, Any]:
        """Return the contract as plain JSON data, without what is left at its default."""
        data = {"kind": self.kind, "count": self.count}
        return data | ({"at_least": self.at_least} if self.at_least is not None else {})

    def of(self, count: int) -> LinesContract:
        """Return the contract with another number of alternatives, of which at least as many are needed as here."""
        return LinesContract(count, None if self.at_least is None else min(self.at_least, count))

    @property
    def least(self) -> int:
        """Return the number of alternatives that an answer needs."""
        return self.count if self.at_least is None else self.at_least

    @property
    def wanted(self) -> str:
        """Return what a model has to answer with."""
        return f"exactly {counted(self.count, 'alternative')}, one a line"

    def read(self, written: str) -> Reading:
        """Return the answer without reasoning; `parse_alternatives` splits it. Raises `LLMContractError`."""
        reading = read_answer(written, "lines")
        if reading.refusal or not reading.text.strip():
            return reading
        number = len(parse_alternatives(reading.text, self.count))
        if number < self.least:
            wanted = f"{self.least}" if self.least == self.count else f"at least {self.least}"
            _raise_if([f"the answer has {counted(number, 'alternative')}, {wanted} expected"])
        return reading

    def _narrowed_by(self, other: LinesContract) -> LinesContract:
        if other.count != self.count:
            raise ValueError(
                f"The version answers with {other.count} alternatives, and the operation with {self.count}"
            )
        if other.least < self.least:
            raise ValueError(
                f"The version accepts {counted(other.least, 'alternative')}, and the operation needs {self.least}"
            )
        return LinesContract(self.count, other.least if other.least < self.count else None)

    @classmethod
    def _from(cls, values: dict[str, Any]) -> Contract:
        if "count" not in values:
            raise ValueError("A lines contract needs a count")
        return cls(**values)


@dataclass(frozen=True)
class JsonContract(Contract):
    """JSON that fits all of `texts`: the operation's schema and those that narrow it, each as JSON text.

    Make one with `JsonContract.of(schema)`. Raises `ValueError` with a sentence for a schema that is not accepted.
    """

    kind = "json"
    shape = None

    texts: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.texts) > MAX_SCHEMAS:
            raise ValueError(f"A contract has at most {MAX_SCHEMAS} schemas")
        openings = {schema.opening for schema in self._schemas} - {None}
        if len(openings) > 1:
            raise ValueError("No answer is both an object and a list")

    @classmethod
    def of(cls, *schemas: Mapping[str, Any]) -> JsonContract:
        """Return the contract of these schemas. Raises `ValueError`."""
        return cls(tuple(map(schema_text, schemas)))

    def to_data(self) -> dict[str, Any]:
        """Return the contract as plain JSON data."""
        schema, *also = map(json.loads, self.texts)
        return {"kind": self.kind, "schema": schema, **({"also": also} if also else {})}

    @property
    def wanted(self) -> str:
        """Return what a model has to answer with."""
        return "the JSON alone"

    @property
    def _schemas(self) -> tuple[CompiledSchema, ...]:
        return tuple(map(compiled, self.texts))

    @property
    def opening(self) -> Opening | None:
        """Return the bracket with which an answer begins, or `None` if both are possible."""
        return next((schema.opening for schema in self._schemas if schema.opening), None)

    @property
    def schema(self) -> dict[str, Any]:
        """Return the schema to send to a provider: the last one that may stand alone, otherwise the first.

        A schema may stand alone if it names a type and each key that the contract requires.
        """
        trees, required = [schema.tree for schema in self._schemas], self.required_keys()
        return next((tree for tree in reversed(trees) if "type" in tree and required <= keys(tree)), trees[0])

    @property
    def is_strict(self) -> bool:
        """Return whether vendors accept `schema` as strict."""
        return is_strict(self.schema)

    def keys(self) -> set[str]:
        """Return the names of all keys."""
        return {key for schema in self._schemas for key in keys(schema.tree)}

    @property
    def has_free_keys(self) -> bool:
        """Return whether an object may have keys that the contract describes without their names."""
        return any(has_free_keys(schema.tree) for schema in self._schemas)

    def required_keys(self) -> set[str]:
        """Return the names of the keys that each answer has, or each item of its lists."""
        return {key for schema in self._schemas for key in required_keys(schema.tree)}

    def values(self) -> set[str]:
        """Return the texts that the contract names as values."""
        return {value for schema in self._schemas for value in values(schema.tree)}

    def read(self, written: str) -> Reading:
        """Return the JSON in the answer, as text and as `data`. Raises `LLMContractError`."""
        answer, _ = split_reasoning(written)
        if not answer.strip():
            return Reading("")
        try:
            found = find_json(answer, self.opening)
        except Unreadable as error:
            if len(answer) <= REFUSAL_LIMIT and (declined := read_answer(answer, "text")).refusal:
                return declined
            raise _breach([str(error)]) from None
        _raise_if([problem for schema in self._schemas for problem in schema.problems(found.data)])
        return Reading(found.text, data=found.data)

    def _narrowed_by(self, other: JsonContract) -> JsonContract:
        both = JsonContract(tuple(dict.fromkeys(self.texts + other.texts)))
        trees = [schema.tree for schema in both._schemas]
        forbidden = {key for one in trees for another in trees for key in closed_out(one, another)}
        if both.opening == "{" and forbidden:
            raise ValueError(f"No answer fits: one schema requires {short(min(forbidden))}, and the other forbids it")
        return both

    @classmethod
    def _names(cls) -> tuple[str, ...]:
        return ("schema", "also")

    @classmethod
    def _from(cls, values: dict[str, Any]) -> Contract:
        if "schema" not in values:
            raise ValueError("A json contract needs a schema")
        also = values.get("also", [])
        if not isinstance(also, Sequence) or isinstance(also, str):
            raise ValueError("also is a list of schemas")
        return cls.of(values["schema"], *also)


CONTRACTS: Mapping[str, type[Contract]] = MappingProxyType(
    {own.kind: own for own in (TextContract, LinesContract, JsonContract)}
)
"""The kinds of contract, by name."""


def _raise_if(problems: list[str]) -> None:
    if problems:
        raise _breach(problems)


def _breach(problems: list[str]) -> LLMContractError:
    error = LLMContractError(problems[0])
    error.problems = tuple(problems[:MAX_PROBLEMS])
    return error


def _check_number(name: str, value: Any, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ValueError(f"{name} is a whole number from 1 to {most:,}, not {quoted(value)}")


def _check_phrases(name: str, phrases: Any) -> None:
    if not isinstance(phrases, tuple) or not all(isinstance(each, str) for each in phrases):
        raise ValueError(f"{name} is a list of texts")
    if len(phrases) > MAX_PHRASES:
        raise ValueError(f"{name} has {len(phrases)} texts, and at most {MAX_PHRASES} are allowed")
    for phrase in phrases:
        if not phrase.strip() or len(phrase) > MAX_PHRASE_CHARACTERS:
            raise ValueError(f"Each text of {name} has 1 to {MAX_PHRASE_CHARACTERS} characters")
