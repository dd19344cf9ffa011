"""Hashing passwords, a few at a time: one hash takes a core for a quarter of a second and more, on purpose."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime

from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher

AT_ONCE = 4
THREADS_LEFT = 2
"""Request threads that no sign-in may hold: one that is hashed, or waits for its turn, holds one (DATABASE_THREADS)."""
WAITING_SECONDS = 5.0
NICENESS = 5
"""How much the hashing threads give way to the threads that serve pages: these get three times their share."""


class HashesBusy(Exception):
    """So many passwords are being hashed that this one had no turn."""


class Turns:
    """Do work in `at_once` threads of low priority; at most `waiting` more wait for one, each for `seconds`."""

    def __init__(self, at_once: int, waiting: int, seconds: float) -> None:
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="hash", initializer=_give_way)
        self._places = threading.BoundedSemaphore(at_once + waiting)
        self._seconds = seconds

    def run(self, work: Callable[[], str]) -> str:
        """Return what `work` returns. Raises HashesBusy if all places are taken, or if no turn came in time."""
        if not self._places.acquire(blocking=False):
            raise HashesBusy
        try:
            future = self._threads.submit(work)
            try:
                return future.result(self._seconds)
            except NotInTime:
                if future.cancel():
                    raise HashesBusy from None
                return future.result()  # its turn came; it ends soon
        finally:
            self._places.release()


def _give_way() -> None:
    if sys.platform == "linux":  # elsewhere a priority is the whole process's
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _turns(threads: int) -> Turns:
    """Return the turns of a process that answers requests in so many threads."""
    places = max(1, threads - THREADS_LEFT)
    at_once = min(AT_ONCE, places)
    return Turns(at_once, places - at_once, WAITING_SECONDS)


turns = _turns(settings.DATABASE_THREADS)  # this process's


class BoundedHasher(PBKDF2PasswordHasher):
    """Django's hasher, with the same hashes. Checking, making and hardening a hash all go through `encode`."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        return turns.run(lambda: str(super(BoundedHasher, self).encode(password, salt, iterations)))
