r"""The text format of a version's examples: pairs of a user's and an assistant's text. No database here.

A line `=>` ends the user's text, a line `---` ends a pair. A backslash before them (`\=>`, `\---`) makes such a line
part of a text; each further backslash is kept. Blank ends of texts are removed.
"""

import re

from promptops.engine.messages import Example
from promptops.platform.text import MAX_BODY_BYTES

MAX_PAIRS = 10

_ESCAPED = re.compile(r"\A\\(\\*(?:=>|---))[ \t]*\Z")


def read_examples(text: str | None) -> tuple[Example, ...]:
    """Return the pairs in order. Raises ValueError with a sentence that says which pair is wrong, and how."""
    if not text or not text.strip():
        return ()
    if (size := len(text.encode(errors="replace"))) > MAX_BODY_BYTES:
        raise ValueError(f"The examples are {size:,} bytes; at most {MAX_BODY_BYTES:,} (64 KiB) are allowed.")
    pairs: list[list[list[str]]] = [[[]]]  # the lines of the one or two texts of each pair
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        mark = line.rstrip(" \t")
        if mark == "---":
            pairs.append([[]])
        elif mark == "=>":
            pairs[-1].append([])
        else:
            pairs[-1][-1].append(escaped[1] if (escaped := _ESCAPED.match(line)) else line)
    if len(pairs) > MAX_PAIRS:
        raise ValueError(f"There are {len(pairs):,} examples; at most {MAX_PAIRS} are allowed.")
    return tuple(_pair(number, texts) for number, texts in enumerate(pairs, start=1))


def _pair(number: int, lines: list[list[str]]) -> Example:
    texts = ["\n".join(each).strip() for each in lines]
    if len(texts) == 1 and not texts[0]:
        raise ValueError(f"Example {number} is empty. Remove the line --- beside it.")
    if len(texts) == 1:
        raise ValueError(f"Example {number} has no line => between the user's text and the assistant's.")
    if len(texts) > 2:
        raise ValueError(rf"Example {number} has more than one line =>. Write \=> for a line of a text.")
    for text, whose in zip(texts, ("user", "assistant"), strict=True):
        if not text:
            raise ValueError(f"Example {number} has no text of the {whose}.")
    return texts[0], texts[1]
