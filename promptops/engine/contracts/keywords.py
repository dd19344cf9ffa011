"""The keywords of a JSON Schema that check something: each yields an error whose message is half a sentence.

The library `jsonschema` follows references and goes through objects and lists. Its own checks quote the checked value
in full, need quadratic time for `uniqueItems`, and search patterns with `re`. So they are replaced here. The subject of
the sentence is the error's path; `schemas.py` joins both. Every check spends the work of the check in progress.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, TypeAlias

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from promptops.engine.contracts.patterns import pattern
from promptops.engine.contracts.words import expected, listed, quoted, short
from promptops.engine.contracts.work import spend

Errors: TypeAlias = Iterator[ValidationError]
Keyword: TypeAlias = Callable[[Any, Any, Any, Any], Errors | None]

TYPES = {
    "object": "an object",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def frozen(value: Any) -> Any:
    """Return a hashable form of a JSON value that is equal for equal values: 1 equals 1.0, and not true."""
    spend(1)
    if isinstance(value, dict):
        return "object", frozenset((key, frozen(each)) for key, each in value.items())
    if isinstance(value, list):
        return "list", tuple(frozen(each) for each in value)
    return isinstance(value, bool), value


# Any value


def _type(validator: Any, types: Any, value: Any, schema: Any) -> Errors:
    types = [types] if isinstance(types, str) else types
    if not any(validator.is_type(value, each) for each in types):
        yield ValidationError(f"is {kind_of(value)}, {listed(TYPES[each] for each in types)} expected")


def kind_of(value: Any) -> str:
    """Return the kind of a JSON value in words."""
    if isinstance(value, bool) or value is None:
        return quoted(value)
    kinds = (dict, "object"), (list, "array"), (str, "string")
    return next((TYPES[name] for kind, name in kinds if isinstance(value, kind)), "a number")


def _enum(validator: Any, allowed: list[Any], value: Any, schema: Any) -> Errors:
    spend(len(allowed) // 100)
    if isinstance(value, str) and value in allowed:
        return
    if frozen(value) not in {frozen(each) for each in allowed}:
        yield ValidationError(f"is {_in_words(value)}, {listed(map(quoted, allowed))} expected")


def _const(validator: Any, wanted: Any, value: Any, schema: Any) -> Errors:
    if frozen(value) != frozen(wanted):
        yield ValidationError(f"is {_in_words(value)}, {quoted(wanted)} expected")


def _in_words(value: Any) -> str:
    return "another text" if isinstance(value, str) and len(value) > 40 else quoted(value)


def _not(validator: Any, excluded: Any, value: Any, schema: Any) -> Errors:
    if validator.evolve(schema=excluded).is_valid(value):
        yield ValidationError("is not allowed")


def _any_of(validator: Any, branches: list[Any], value: Any, schema: Any) -> Errors:
    found = []
    for branch in branches:
        errors = _first_errors(validator, value, branch)
        if not errors:
            return
        found.append(errors)
    yield _nearest(found, value)


def _one_of(validator: Any, branches: list[Any], value: Any, schema: Any) -> Errors:
    found = [_first_errors(validator, value, branch) for branch in branches]
    fits = found.count([])
    if not fits:
        yield _nearest(found, value)
    elif fits > 1:
        yield ValidationError(f"fits {fits} of {len(branches)} alternatives, 1 expected")


MAX_ERRORS = 5
"""The most errors of one branch, and of one answer, that are read."""


def _first_errors(validator: Any, value: Any, branch: Any) -> list[ValidationError]:
    errors = []
    for error in validator.descend(value, branch):
        errors.append(error)
        if len(errors) == MAX_ERRORS:
            break
    return errors


def _nearest(found: list[list[ValidationError]], value: Any) -> ValidationError:
    """Return the error of the branch that fits best: its type fits, it has the fewest errors, and they are deep."""
    fitting = [errors for errors in found if not any(e.validator == "type" and not e.path for e in errors)]
    if not fitting:
        wanted = [e for errors in found for e in errors if e.validator == "type" and not e.path]
        types = [name for error in wanted for name in _types_of(error)]
        return ValidationError(f"is {kind_of(value)}, {listed(TYPES[each] for each in dict.fromkeys(types))} expected")
    errors = min(fitting, key=lambda errors: (len(errors), -len(errors[0].path)))
    return ValidationError(errors[0].message, validator=errors[0].validator, path=errors[0].path)


def _types_of(error: ValidationError) -> list[str]:
    wanted = error.validator_value
    return [wanted] if isinstance(wanted, str) else list(wanted)


# Text


def _length(validator: Any, limit: int, value: Any, schema: Any, *, is_least: bool) -> Errors:
    if isinstance(value, str) and (len(value) < limit if is_least else len(value) > limit):
        yield ValidationError(expected(len(value), "character", schema.get("minLength"), schema.get("maxLength")))


def _min_length(validator: Any, limit: int, value: Any, schema: Any) -> Errors:
    return _length(validator, limit, value, schema, is_least=True)


def _max_length(validator: Any, limit: int, value: Any, schema: Any) -> Errors:
    return _length(validator, limit, value, schema, is_least=False)


def _pattern(validator: Any, wanted: str, value: Any, schema: Any) -> Errors:
    if isinstance(value, str) and not pattern(wanted).found_in(value, spend):
        yield ValidationError(f"does not match the pattern {short(wanted)}")


# Numbers


def _number(wanted: str, is_wrong: Callable[[Any, Any], bool]) -> Keyword:
    def check(validator: Any, limit: Any, value: Any, schema: Any) -> Errors:
        if validator.is_type(value, "number") and is_wrong(value, limit):
            yield ValidationError(f"is {quoted(value)}, {wanted} {quoted(limit)} expected")

    return check


def _is_no_multiple(value: Any, of: Any) -> bool:
    return (Fraction(str(value)) / Fraction(str(of))).denominator != 1


# Lists


def _min_items(validator: Any, least: int, value: Any, schema: Any) -> Errors:
    if isinstance(value, list) and len(value) < least:
        yield ValidationError(expected(len(value), "item", least, schema.get("maxItems")))


def _max_items(validator: Any, most: int, value: Any, schema: Any) -> Errors:
    if isinstance(value, list) and len(value) > most:
        yield ValidationError(expected(len(value), "item", schema.get("minItems"), most))


def _unique_items(validator: Any, wanted: bool, value: Any, schema: Any) -> Errors:
    if not wanted or not isinstance(value, list):
        return
    seen: dict[Any, int] = {}
    for number, item in enumerate(value, start=1):
        first = seen.setdefault(frozen(item), number)
        if first != number:
            yield ValidationError(f"has the same item twice ({first} and {number})")
            return


def _contains(validator: Any, wanted: Any, value: Any, schema: Any) -> Errors:
    if not isinstance(value, list):
        return
    check = validator.evolve(schema=wanted)
    number = sum(check.is_valid(item) for item in value)
    least, most = schema.get("minContains", 1), schema.get("maxContains")
    if number < least or (most is not None and number > most):
        yield ValidationError(expected(number, "item", least, most).replace(",", " of the wanted kind,", 1))


# Objects


def _required(validator: Any, keys: list[str], value: Any, schema: Any) -> Errors:
    if isinstance(value, dict):
        for key in keys:
            if key not in value:
                yield ValidationError(f"has no {short(key)}")


def _extra_keys(value: dict[str, Any], schema: Any) -> list[str]:
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", ())
    extra = [key for key in value if key not in known]
    return [key for key in extra if not any(pattern(each).found_in(key, spend) for each in patterns)]


def _additional_properties(validator: Any, wanted: Any, value: Any, schema: Any) -> Errors:
    if not isinstance(value, dict) or wanted is True:
        return
    extra = _extra_keys(value, schema)
    if wanted is False:
        if extra:
            noun = "an unknown key" if len(extra) == 1 else f"{len(extra):,} unknown keys"
            yield ValidationError(f"has {noun}: {listed(map(short, extra), 'and')}")
        return
    for key in extra:
        yield from validator.descend(value[key], wanted, path=key)


def _pattern_properties(validator: Any, patterns: dict[str, Any], value: Any, schema: Any) -> Errors:
    if isinstance(value, dict):
        for text, wanted in patterns.items():
            for key, each in value.items():
                if pattern(text).found_in(key, spend):
                    yield from validator.descend(each, wanted, path=key)


def _property_names(validator: Any, wanted: Any, value: Any, schema: Any) -> Errors:
    if isinstance(value, dict):
        for key in value:
            for error in validator.descend(key, wanted):
                yield ValidationError(f"has a wrong key, {short(key)}, which {error.message}")
                break


def _properties_count(least: int | None, most: int | None, value: Any) -> Errors:
    if isinstance(value, dict) and ((least and len(value) < least) or (most is not None and len(value) > most)):
        yield ValidationError(expected(len(value), "key", least, most))


def _dependent_required(validator: Any, wanted: dict[str, list[str]], value: Any, schema: Any) -> Errors:
    if isinstance(value, dict):
        for key, others in wanted.items():
            missing = [other for other in others if other not in value] if key in value else []
            if missing:
                yield ValidationError(f"has {short(key)} but no {short(missing[0])}")


OWN: dict[str, Keyword] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "not": _not,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "minLength": _min_length,
    "maxLength": _max_length,
    "pattern": _pattern,
    "minimum": _number("at least", lambda value, limit: value < limit),
    "maximum": _number("at most", lambda value, limit: value > limit),
    "exclusiveMinimum": _number("more than", lambda value, limit: value <= limit),
    "exclusiveMaximum": _number("less than", lambda value, limit: value >= limit),
    "multipleOf": _number("a multiple of", _is_no_multiple),
    "minItems": _min_items,
    "maxItems": _max_items,
    "uniqueItems": _unique_items,
    "contains": _contains,
    "required": _required,
    "additionalProperties": _additional_properties,
    "patternProperties": _pattern_properties,
    "propertyNames": _property_names,
    "minProperties": lambda validator, least, value, schema: _properties_count(least, None, value),
    "maxProperties": lambda validator, most, value, schema: _properties_count(None, most, value),
    "dependentRequired": _dependent_required,
}

LIBRARY = ("$ref", "allOf", "dependentSchemas", "if", "items", "prefixItems", "properties")
"""The keywords that the library follows. Their errors come from the keywords above."""


REFERENCE_UNITS = 4
"""The units of work of a reference, which the library looks up each time."""


def _spending(check: Keyword, units: int) -> Keyword:
    def keyword(validator: Any, wanted: Any, value: Any, schema: Any) -> Errors | None:
        spend(units)
        return check(validator, wanted, value, schema)

    return keyword


KEYWORDS: dict[str, Keyword] = {
    name: _spending(check, REFERENCE_UNITS if name == "$ref" else 1)
    for name, check in {**{name: Draft202012Validator.VALIDATORS[name] for name in LIBRARY}, **OWN}.items()
}
"""All keywords that check something. `additionalItems` and other keywords of older drafts are unknown."""
