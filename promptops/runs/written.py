"""The answer as the model wrote it beside the answer as it is used."""

from promptops.engine.answers import marked


def pieces(read: str, raw: str, alternatives: list[str]) -> list[tuple[str, bool]]:
    """Return the written answer in pieces, each with whether it was removed; nothing where only blanks were.

    `raw` is "" where it is the same as `read`. Of a rewrite, its `alternatives` are what is used.
    """
    used = "\n".join(alternatives) if alternatives else read
    found = marked(raw or read, used)
    return found if any(removed and text.strip() for text, removed in found) else []
