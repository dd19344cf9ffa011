"""Split the answer of a rewrite into its alternatives."""

from __future__ import annotations

import re


def parse_alternatives(text: str, count: int) -> list[str]:
    """The lines of `text` without bullets and numbering, blank ones left out, at most `max(1, count)` of them."""
    lines = (_MARKERS.sub("", line, count=1).strip() for line in text.splitlines())
    return [line for line in lines if line][: max(1, count)]


# One or more of "-", "*", "•", "1.", "2)" at the start of a line, but not what belongs to the text: "-40 degrees",
# "*slow* zoom", "3.5 mm lens", "1984. A city".
_MARKERS = re.compile(r"^\s*(?:(?:•|-(?!\d)|\*(?=\s|$)|\*(?![^*]*\*)|\d{1,3}[.)](?!\d))\s*)+")
