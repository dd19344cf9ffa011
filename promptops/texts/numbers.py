"""Small numbers of pages: estimates and percentages to show, and whole numbers to parse. Pure."""


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text: one per four bytes of UTF-8, rounded up (a rule of thumb for English)."""
    return -(-len(text.encode(errors="replace")) // 4)


def whole_percent(share: float) -> str:
    """Return a share from 0 to 1 in words: "63%", "<1%", ">99%"."""
    if 0 < share < 0.005 or 0.995 < share < 1:
        return "<1%" if share < 0.5 else ">99%"
    return f"{100 * share:.0f}%"


def odds(share: float) -> str:
    """Return a share from 0 to 1 as people say it: "no", "about 1 of 140", "about 6 of 10", "all"."""
    if share <= 0 or share >= 1:
        return "all" if share >= 1 else "no"
    if share < 0.15:
        among = float(f"{1 / share:.2g}")
        return f"about 1 of {among:,.0f}"
    return f"about {round(10 * share)} of 10" if share < 0.95 else "more than 9 of 10"


def whole_number(value: object) -> int | None:
    """Parse a number of at most 18 digits, which fits into the database; return None for anything else."""
    text = str(value) if isinstance(value, str | int) else ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None
