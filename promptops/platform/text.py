"""What texts from outside must be: system prompts, their size, numbers."""

from django.core.exceptions import ValidationError

MAX_BODY_BYTES = 64 * 1024


def clean_body(text: str) -> str:
    """The text with plain newlines and no blank ends, or ValidationError with the reason it cannot be a system prompt.

    Refused: blank text, more than 64 KiB of UTF-8, NUL characters, lone surrogates, and U+FFFD, which is what broken
    UTF-8 has become by the time a form or a careless editor hands it over.
    """
    body = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if not body:
        raise ValidationError("The prompt is blank. Write at least one sentence.", code="blank")
    if "\x00" in body:
        raise ValidationError("The prompt holds a NUL character. Remove it; it cannot be seen or stored.", code="nul")
    try:
        size = len(body.encode())
    except UnicodeEncodeError:
        size = -1
    if size < 0 or "\ufffd" in body:
        raise ValidationError(
            "The prompt holds broken UTF-8 (shown as \ufffd). Paste the text again from its source.", code="utf8"
        )
    if size > MAX_BODY_BYTES:
        raise ValidationError(
            f"The prompt is {size:,} bytes; at most {MAX_BODY_BYTES:,} (64 KiB) are allowed. Shorten it.", code="long"
        )
    return body


def decode_body(data: bytes) -> str:
    """`clean_body` for the bytes of a file; broken UTF-8 is refused with the place."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValidationError(
            f"The file is not UTF-8: byte {error.start + 1} cannot be read. Save it as UTF-8 and try again.",
            code="utf8",
        ) from None
    return clean_body(text)


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
