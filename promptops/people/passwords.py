"""Hashing passwords, a few at a time: one hash takes a core for a quarter of a second or more, on purpose.

Requests that hash a password wait before they take a thread (promptops.web.workers); everything else waits here.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

from django.contrib.auth.hashers import PBKDF2PasswordHasher

MOST_AT_ONCE = 4
NICENESS = 5
"""When cores are busy, a thread that serves pages gets three times as much of a core as a hashing thread.

A higher value would let other programs of the machine, such as a local model, keep people from signing in.
"""


def hashes_at_once(cores: int) -> int:
    """Return how many passwords a process hashes at once: one core stays free for pages if there are several."""
    return max(1, min(MOST_AT_ONCE, cores - 1))


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


AT_ONCE = hashes_at_once(_cores())


def _give_way() -> None:
    if sys.platform == "linux":  # elsewhere the priority is that of the whole process
        os.nice(NICENESS)


_threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="hash", initializer=_give_way)


class BoundedHasher(PBKDF2PasswordHasher):
    """Django's hasher, with the same hashes. Checking, making and hardening a hash all go through `encode`."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        return str(_threads.submit(super().encode, password, salt, iterations).result())
