"""Small numbers of pages: estimates, and whole numbers to parse. Values to show are in `formats`. Pure."""


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text: one per four bytes of UTF-8, rounded up (a rule of thumb for English)."""
    return -(-len(text.encode(errors="replace")) // 4)


def whole_number(value: object) -> int | None:
    """Parse a number of at most 18 digits, which fits into the database; return None for anything else."""
    text = str(value) if isinstance(value, str | int) else ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None
