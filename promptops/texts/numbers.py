"""Numbers that pages show, and numbers that pages and addresses send."""


def estimate_tokens(text: str) -> int:
    """About how many tokens a model counts: one per four bytes of UTF-8, rounded up (a rule of thumb for English)."""
    return -(-len(text.encode(errors="replace")) // 4)


def whole_percent(share: float) -> str:
    """A share from 0 to 1: "63%", "<1%", ">99%"."""
    if 0 < share < 0.005 or 0.995 < share < 1:
        return "<1%" if share < 0.5 else ">99%"
    return f"{100 * share:.0f}%"


def whole_number(given: object) -> int | None:
    """A number of at most 18 digits, which fits into the database, from what a page or an address gave; else None."""
    text = str(given) if isinstance(given, str | int) else ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None
