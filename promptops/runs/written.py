"""The answer as the model wrote it, compared with the answer as it is used."""

from promptops.engine.answers import marked


def pieces(read: str, raw: str, alternatives: list[str]) -> list[tuple[str, bool]]:
    """Return the written answer in pieces, each with whether it was removed; none if only blanks were removed.

    `raw` is "" if it equals `read`. A rewrite uses its `alternatives`.
    """
    used = "\n".join(alternatives) if alternatives else read
    marked_pieces = marked(raw or read, used)
    return marked_pieces if any(removed and text.strip() for text, removed in marked_pieces) else []
