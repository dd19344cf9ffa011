"""Random ids that name things and protect nothing. Secrets come from the module `secrets`.

The system's generator releases Python's lock, and a busy event loop then waits for another thread to give it back.
"""

import os
import random
import uuid

_random = random.Random(os.urandom(32))  # noqa: S311 -- ids, no secrets
os.register_at_fork(after_in_child=lambda: _random.seed(os.urandom(32)))


def new_uuid() -> uuid.UUID:
    """Return a random UUID (version 4)."""
    return uuid.UUID(int=_random.getrandbits(128), version=4)


def new_hex() -> str:
    """Return 16 random hexadecimal digits."""
    return f"{_random.getrandbits(64):016x}"
