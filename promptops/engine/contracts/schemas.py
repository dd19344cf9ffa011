"""JSON Schemas of answers: which are accepted, and what an answer lacks. Finding the JSON belongs to `json_text.py`.

Draft 2020-12, without what reaches outside of the schema (remote references) or has no use for an answer
(`unevaluatedProperties`, dynamic references). An unknown keyword is refused by name, because a misspelled one would
check nothing. `format` and other annotations are accepted and check nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from promptops.engine.contracts import work
from promptops.engine.contracts.json_text import Opening
from promptops.engine.contracts.patterns import pattern
from promptops.engine.contracts.words import place, short

MAX_SCHEMA_BYTES = 64 * 1024
"""The most bytes of a schema, as UTF-8."""

MAX_SCHEMA_DEPTH = 32
"""The most nested objects and lists of a schema. Each nested object of an answer takes two."""

MAX_PROBLEMS = 5
"""The most problems of one answer that are reported."""

DRAFT = "https://json-schema.org/draft/2020-12/schema"

_ANNOTATIONS = frozenset(
    ("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "format", "$comment")
)
_ONE = ("additionalProperties", "contains", "propertyNames", "not", "if", "then", "else", "items")
_MANY = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
_HERE_ONE = ("not", "if", "then", "else")
_HERE_MANY = ("allOf", "anyOf", "oneOf")
_BESIDE = frozenset(("then", "else", "minContains", "maxContains", "$defs", "definitions"))

Schema = dict[str, Any]


class CompiledSchema:
    """A schema that was accepted. Raises `ValueError` with a sentence for one that was not.

    `tree` is the schema without its own address. `opening` is the bracket with which an answer has to begin, or `None`
    if both are possible.
    """

    def __init__(self, text: str) -> None:
        # Imported at the first schema: the library takes 0.1 s to load, and most installations have no schema.
        from jsonschema.validators import create
        from referencing import Registry

        from promptops.engine.contracts.keywords import KEYWORDS

        self.tree = _accepted(text)
        kind = create(meta_schema={"$id": DRAFT}, validators=KEYWORDS)
        self._validator = kind(self.tree, registry=Registry())
        self.opening = _opening(self.tree)

    def problems(self, data: Any) -> list[str]:
        """Return sentences, without full stops, that say where `data` breaks the schema: none if it fits."""
        work.begin()
        try:
            errors = list(islice(self._validator.iter_errors(data), MAX_PROBLEMS))
        except (work.TooMuchWork, RecursionError):
            if work.is_limited():
                raise work.TooMuchWork from None
            return ["the answer takes too much work to check"]
        return list(dict.fromkeys(f"{place(list(error.path))} {error.message}" for error in errors))


@lru_cache(maxsize=256)
def compiled(text: str) -> CompiledSchema:
    """Return the schema in `text`, compiled once. Raises `ValueError` with a sentence."""
    return CompiledSchema(text)


def schema_text(schema: Any) -> str:
    """Return a schema as text, with its keys in their order. Raises `ValueError` for a value that is no JSON object."""
    if not isinstance(schema, Mapping):
        raise ValueError("A JSON Schema is an object")
    try:
        text = json.dumps(schema, ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError):
        raise ValueError("The schema is not JSON, or it is nested too deeply") from None
    if size > MAX_SCHEMA_BYTES:
        raise ValueError(f"The schema has {size:,} bytes, and at most {MAX_SCHEMA_BYTES:,} are allowed")
    return text


# Reading a schema


def _accepted(text: str) -> Schema:
    tree = json.loads(text)
    _check_depth(tree)
    if str(tree.get("$schema", DRAFT)).rstrip("#") != DRAFT:
        raise ValueError(f"The schema is of another draft than {DRAFT}")
    tree = {key: value for key, value in tree.items() if key not in ("$schema", "$id")}
    _check_form(tree)
    tree = _copied(tree, ())
    names = _definitions(tree)
    for path, schema in _walked(tree, ()):
        _check_reference(schema, path, names)
        for one in (*([schema["pattern"]] if "pattern" in schema else ()), *schema.get("patternProperties", ())):
            _check_pattern(one, path)
    _check_circles(names)
    return tree


def _check_depth(tree: Any) -> None:
    waiting = [(tree, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_SCHEMA_DEPTH:
            raise ValueError(f"The schema has more than {MAX_SCHEMA_DEPTH} levels")
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        waiting += [(each, depth + 1) for each in inner if isinstance(each, dict | list)]


def _check_form(tree: Schema) -> None:
    """Check the form of all keywords with the schema of schemas."""
    from jsonschema.exceptions import best_match

    error = best_match(_form_validator().iter_errors(tree))
    if error is not None:
        raise ValueError(f"The schema is invalid at {_path(tuple(error.path))}: {_clipped(error.message)}")


@lru_cache(maxsize=1)
def _form_validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(Draft202012Validator.META_SCHEMA)


def _copied(schema: Any, path: tuple[str | int, ...]) -> Any:
    """Return a schema whose keywords are all known. `False` becomes `{"not": {}}`, which has words of its own."""
    from promptops.engine.contracts.keywords import KEYWORDS

    if isinstance(schema, bool):
        return {} if schema else {"not": {}}
    copy: Schema = {}
    for key, value in schema.items():
        where = (*path, key)
        if key in _ONE:
            is_flag = key == "additionalProperties" and isinstance(value, bool)
            copy[key] = value if is_flag else _copied(value, where)
        elif key in _MANY:
            copy[key] = [_copied(each, (*where, at)) for at, each in enumerate(value)]
        elif key in _NAMED:
            copy[key] = {name: _copied(each, (*where, name)) for name, each in value.items()}
        elif key in KEYWORDS or key in _BESIDE or key in _ANNOTATIONS:
            copy[key] = value
        else:
            raise ValueError(f"The schema has the unknown keyword {short(key)} at {_path(path)}")
    return copy


def _walked(schema: Schema, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Schema]]:
    """Yield a schema and all schemas inside it, each with its path."""
    yield path, schema
    for key in _ONE:
        if isinstance(schema.get(key), dict):
            yield from _walked(schema[key], (*path, key))
    for key in _MANY:
        for at, each in enumerate(schema.get(key, ())):
            yield from _walked(each, (*path, key, at))
    for key in _NAMED:
        for name, each in schema.get(key, {}).items():
            yield from _walked(each, (*path, key, name))


def _definitions(tree: Schema) -> dict[str, Schema]:
    names = {"#": tree}
    for key in ("$defs", "definitions"):
        names |= {f"#/{key}/{name}": schema for name, schema in tree.get(key, {}).items()}
    return names


def _check_reference(schema: Schema, path: tuple[str | int, ...], names: Mapping[str, Schema]) -> None:
    reference = schema.get("$ref")
    if reference is None or reference in names:
        return
    if not reference.startswith("#"):
        raise ValueError(f"The schema refers to {short(reference)}; only references to its own $defs are allowed")
    raise ValueError(f"The reference {short(reference)} at {_path(path)} leads to no definition of the schema")


def _check_pattern(text: str, path: tuple[str | int, ...]) -> None:
    try:
        pattern(text)
    except ValueError as error:
        raise ValueError(f"The pattern {short(text)} at {_path(path)} {error}") from None


def _check_circles(names: Mapping[str, Schema]) -> None:
    """Refuse references that lead back to themselves without going into the answer: checking them would never end."""
    following = {name: set(_here(schema)) for name, schema in names.items()}
    for start in names:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for name in following.get(waiting.pop(), ()):
                if name == start:
                    raise ValueError(f"The reference {short(start)} leads back to itself")
                if name not in seen:
                    seen.add(name)
                    waiting.append(name)


def _here(schema: Schema) -> Iterator[str]:
    """Yield the references that a schema follows at the same value."""
    if "$ref" in schema:
        yield schema["$ref"]
    inner = [schema[key] for key in _HERE_ONE if key in schema]
    inner += [each for key in _HERE_MANY for each in schema.get(key, ())]
    inner += schema.get("dependentSchemas", {}).values()
    for each in inner:
        yield from _here(each)


def _opening(tree: Schema) -> Opening | None:
    types = tree.get("type")
    if types is None:
        return None
    types = [types] if isinstance(types, str) else types
    brackets: list[Opening] = [bracket for name, bracket in (("object", "{"), ("array", "[")) if name in types]  # type: ignore[misc]
    if not brackets:
        raise ValueError("The schema must accept an object or a list")
    return brackets[0] if len(brackets) == 1 else None


def _path(path: tuple[str | int, ...]) -> str:
    return short("/".join(map(str, path))) or "its top"


def _clipped(words: str) -> str:
    return words if len(words) <= 160 else words[:159] + "…"


# What a schema says


def keys(tree: Schema) -> set[str]:
    """Return the names of all keys of a schema."""
    return {
        key for _, schema in _walked(tree, ()) for key in (*schema.get("properties", ()), *schema.get("required", ()))
    }


def has_free_keys(tree: Schema) -> bool:
    """Return whether an object may have keys that the schema describes without their names."""
    return any(
        "patternProperties" in schema or isinstance(schema.get("additionalProperties"), dict)
        for _, schema in _walked(tree, ())
    )


def required_keys(tree: Schema) -> set[str]:
    """Return the names of the keys that each answer has, or each item of its lists."""
    names = _definitions(tree)
    required: set[str] = set()
    seen: set[int] = set()
    waiting = [tree]
    while waiting:
        schema = waiting.pop()
        if id(schema) in seen:
            continue
        seen.add(id(schema))
        own = set(schema.get("required", ()))
        required |= own
        waiting += [each for key, each in schema.get("properties", {}).items() if key in own]
        waiting += [*schema.get("allOf", ()), *schema.get("prefixItems", ())]
        waiting += [schema["items"]] if "items" in schema else []
        waiting += [names[schema["$ref"]]] if "$ref" in schema else []
    return required


def closed_out(tree: Schema, other: Schema) -> set[str]:
    """Return the keys that each object of `other` needs and none of `tree` may have, at the top of the answer."""
    if tree.get("additionalProperties") is not False or "patternProperties" in tree:
        return set()
    return set(other.get("required", ())) - set(tree.get("properties", ()))


def values(tree: Schema) -> set[str]:
    """Return the texts that a schema names as values."""
    named: set[str] = set()
    for _, schema in _walked(tree, ()):
        named |= {each for each in (*schema.get("enum", ()), schema.get("const")) if isinstance(each, str)}
    return named


_STRICT = frozenset(
    ("type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "$ref", "$defs")
) | {"title", "description"}


def is_strict(tree: Schema) -> bool:
    """Return whether vendors accept the schema as `strict`: every object is closed and requires all of its keys."""
    return tree.get("type") == "object" and all(
        set(schema) <= _STRICT and _is_closed(schema) for _, schema in _walked(tree, ())
    )


def _is_closed(schema: Schema) -> bool:
    if "properties" not in schema and schema.get("type") != "object":
        return True
    is_complete = set(schema.get("properties", ())) == set(schema.get("required", ()))
    return is_complete and schema.get("additionalProperties") is False
