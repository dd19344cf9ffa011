"""One-time codes of an app (RFC 6238) and recovery codes: making and comparing them. Nothing here is stored.

A code has 6 digits and changes every 30 seconds. The clock of the phone may be one step off.
"""

import hashlib
import re
import secrets
from datetime import datetime

import pyotp
import segno

STEP_SECONDS = 30
STEPS_OFF = (0, -1, 1)
RECOVERY_CODES = 10
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
"""32 characters without those that look alike (l, o, 0, 1), so each has 5 bits."""


def new_secret() -> str:
    """Return a new secret of 160 bits, in base 32, as apps take it."""
    return pyotp.random_base32()


def app_address(secret: str, username: str) -> str:
    """Return the otpauth address of an account, which an app reads from a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=username, issuer_name="PromptOps")


def qr_code(text: str) -> str:
    """Return a QR code as an <svg> without styles, dark on white, so that phones read it in dark pages, too."""
    code = segno.make(text, error="m", micro=False)
    return str(code.svg_inline(scale=4, border=4, dark="#000", light="#fff", svgclass="qr", omitsize=True))


def matching_step(secret: str, code: str, now: datetime) -> int | None:
    """Return the step whose code this is, or None. A step counts from 1970 in `STEP_SECONDS`."""
    present = int(now.timestamp()) // STEP_SECONDS
    totp = pyotp.TOTP(secret)
    for off in STEPS_OFF:
        if secrets.compare_digest(totp.at((present + off) * STEP_SECONDS), code):
            return present + off
    return None


def plain_code(typed: str) -> str:
    """Return a typed code of either kind without spaces and dashes, in small letters; "" if it has other characters."""
    plain = re.sub(r"[\s-]", "", typed).lower()
    return plain if plain.isascii() and plain.isalnum() else ""


def new_recovery_codes() -> list[str]:
    """Return new recovery codes of 80 random bits, such as abcd-efgh-ijkm-npqr."""
    return [
        "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4)) for _ in range(RECOVERY_CODES)
    ]


def sha256(code: str) -> str:
    """Return what is stored of a recovery code. 80 random bits cannot be guessed, so no slow hash is needed."""
    return hashlib.sha256(plain_code(code).encode()).hexdigest()
