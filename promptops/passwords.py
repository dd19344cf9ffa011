"""Hashing passwords, a few at a time: one hash takes a core for a quarter of a second and more, on purpose."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth.hashers import PBKDF2PasswordHasher

AT_ONCE = 4
WAITING = 16
"""Hashes that may wait for their turn; on two cores the last of them waits about three seconds."""
WAITING_SECONDS = 5.0


class HashesBusy(Exception):
    """So many passwords are being checked that this one had no turn."""


class Turns:
    """At most `at_once` at a time, and at most `waiting` that wait, each for `seconds`."""

    def __init__(self, at_once: int, waiting: int, seconds: float) -> None:
        self._free = threading.BoundedSemaphore(at_once)
        self._queue = threading.BoundedSemaphore(at_once + waiting)
        self._seconds = seconds

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold one turn. Raises HashesBusy if the queue is full, or if no turn came in time."""
        if not self._queue.acquire(blocking=False):
            raise HashesBusy
        try:
            if not self._free.acquire(timeout=self._seconds):
                raise HashesBusy
            try:
                yield
            finally:
                self._free.release()
        finally:
            self._queue.release()


turns = Turns(AT_ONCE, WAITING, WAITING_SECONDS)  # this process's


class BoundedHasher(PBKDF2PasswordHasher):
    """Django's hasher, with the same hashes. Checking, making and hardening a hash all go through `encode`."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        with turns.take():
            return str(super().encode(password, salt, iterations))
