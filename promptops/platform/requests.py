"""The id of the request that a machine has made, for the lines that are logged while it is answered."""

import re
from contextvars import ContextVar

from promptops.platform.ids import new_hex

SAFE = re.compile(r"[A-Za-z0-9._-]{1,64}")

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the current request of a machine; "" elsewhere."""


def chosen_id(sent: str) -> str:
    """Return the id that a client sent if it is safe to log, else a new one."""
    return sent if SAFE.fullmatch(sent) else new_hex()
