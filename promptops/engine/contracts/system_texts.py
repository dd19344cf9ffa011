"""Contradictions between a system text and the JSON contract of its answers, found before the text goes live."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches

from promptops.engine.contracts.kinds import Contract, JsonContract
from promptops.engine.contracts.schemas import MAX_PROBLEMS
from promptops.engine.contracts.words import listed, short

_QUOTE = "[\"'`“”]"
_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,63}"
# A key in an example of JSON: it follows a brace, a comma or the start of a line, and a colon follows it.
_IN_EXAMPLE = re.compile(rf"(?:^|[{{,])\s{{0,40}}\\?{_QUOTE}({_NAME})\\?{_QUOTE}[ \t]{{0,8}}:", re.M)
# A name beside the word for it: the key "title", keys named `title`.
_AFTER_WORD = re.compile(
    rf"\b(?:keys?|fields?|propert(?:y|ies))[ \t]+(?:named |called )?{_QUOTE}({_NAME}){_QUOTE}", re.I
)
# A quoted name that only a program would have, in a line about the answer.
_LINE = re.compile(r"^[^\n]*\b(?:json|keys?|fields?|propert(?:y|ies)|object)\b[^\n]*$", re.M | re.I)
_PROGRAM_NAME = re.compile(rf"{_QUOTE}([a-z][a-z0-9]{{0,40}}(?:_[a-z0-9]+|[A-Z][a-z0-9]+)[A-Za-z0-9_]{{0,40}}){_QUOTE}")
_VARIABLE = re.compile(r"\{\{[ \t]*([a-z][a-z0-9_]{0,39})[ \t]*\}\}")


def contradictions(text: str, contract: Contract | None, *, known: Collection[str] = ()) -> tuple[str, ...]:
    """Return sentences that say where a system text contradicts a JSON contract. Other contracts have none.

    A text may name a key that the contract does not have, or never name a key that the contract requires. `known` are
    other names that the text may mention, such as the fields of the input. These are warnings: a text can be right in
    words that this function does not understand.
    """
    if not isinstance(contract, JsonContract):
        return ()
    named, required = contract.keys(), contract.required_keys()
    allowed = {*named, *contract.values(), *known, *_VARIABLE.findall(text)}
    named_in_text = () if contract.has_free_keys else dict.fromkeys(_keys_in(text))
    unknown = [key for key in named_in_text if key not in allowed]
    missing = sorted(key for key in required if not re.search(rf"(?<!\w){re.escape(key)}(?!\w)", text))
    warnings = [
        f"The text names the key {short(key)}, which the contract does not have{_hint(key, named)}."
        for key in unknown[:MAX_PROBLEMS]
    ]
    if missing:
        noun = "the key" if len(missing) == 1 else "the keys"
        warnings.append(
            f"The text never names {noun} {listed(map(short, missing), 'and')}, which the contract requires."
        )
    return tuple(warnings)


def _keys_in(text: str) -> list[str]:
    """Return the names in a text that are meant as keys, in the order of their kinds."""
    lines = "\n".join(_LINE.findall(text))
    return [*_IN_EXAMPLE.findall(text), *_AFTER_WORD.findall(text), *_PROGRAM_NAME.findall(lines)]


def _hint(key: str, named: Collection[str]) -> str:
    near = get_close_matches(key, sorted(named), n=1, cutoff=0.5) if len(named) <= 200 else []
    return f"; it has {short(near[0])}" if near else ""
