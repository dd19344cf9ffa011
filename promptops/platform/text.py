"""Rules for system prompts and inputs from outside. Rules for names and settings belong to their features."""

from django.core.exceptions import ValidationError

MAX_BODY_BYTES = 64 * 1024


def clean_body(text: str, what: str = "The prompt") -> str:
    """Return the system prompt with plain newlines and without blank ends. Raises ValidationError with the reason.

    Refused are blank texts, more than 64 KiB of UTF-8, NUL characters, lone surrogates, and U+FFFD, into which forms
    and editors turn broken UTF-8. `what` is the subject of the sentence.
    """
    body = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if not body:
        raise ValidationError(f"{what} is blank. Write at least one sentence.", code="blank")
    if "\x00" in body:
        raise ValidationError(f"{what} holds a NUL character. Remove it; it cannot be seen or stored.", code="nul")
    try:
        size = len(body.encode())
    except UnicodeEncodeError:
        size = -1
    if size < 0 or "\ufffd" in body:
        raise ValidationError(
            f"{what} holds broken UTF-8 (shown as \ufffd). Paste the text again from its source.", code="utf8"
        )
    if size > MAX_BODY_BYTES:
        raise ValidationError(
            f"{what} is {size:,} bytes; at most {MAX_BODY_BYTES:,} (64 KiB) are allowed. Shorten it.", code="long"
        )
    return body


def decode_body(data: bytes) -> str:
    """Return the system prompt in the bytes of a file. Raises ValidationError, for broken UTF-8 with its position."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValidationError(
            f"The file is not UTF-8: byte {error.start + 1} cannot be read. Save it as UTF-8 and try again.",
            code="utf8",
        ) from None
    return clean_body(text)


MAX_INPUT_CHARACTERS = 16_000


def clean_input(text: str) -> str:
    """Return the input of a viewer. Raises ValidationError if it is blank, too long or has invalid characters."""
    if not text.strip():
        raise ValidationError("Type an input first: what would a viewer ask for?")
    if len(text) > MAX_INPUT_CHARACTERS:
        raise ValidationError(f"The input is {len(text):,} characters; at most {MAX_INPUT_CHARACTERS:,} are allowed.")
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValidationError("The input holds a NUL character or half a character. Type it again.")
    return text
