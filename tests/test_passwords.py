"""How many passwords are hashed at once, and how many wait."""

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher, check_password

from promptops.passwords import NICENESS, BoundedHasher, HashesBusy, Turns


def test_so_many_at_once_so_many_wait_and_the_rest_is_refused():
    turns = Turns(at_once=2, waiting=3, seconds=5)
    at_once, most, lock = 0, 0, threading.Lock()
    begin = threading.Barrier(10)

    def work() -> str:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.2)
        with lock:
            at_once -= 1
        return "hash"

    def one(_: int) -> bool:
        begin.wait()
        try:
            return turns.run(work) == "hash"
        except HashesBusy:
            return False

    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(one, range(10))) == 5
    assert most == 2


def test_waiting_ends_and_a_failure_gives_its_turn_back():
    turns = Turns(at_once=1, waiting=1, seconds=0.05)
    release = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(turns.run, lambda: str(release.wait(10)))
        time.sleep(0.02)
        with pytest.raises(HashesBusy):
            turns.run(lambda: "never")
        release.set()
        assert first.result() == "True"  # it took longer than 0.05 s, but it had its turn
    with pytest.raises(ZeroDivisionError):
        turns.run(lambda: str(1 / 0))
    assert turns.run(lambda: "again") == "again"


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
def test_hashing_gives_way_to_pages():
    turns = Turns(at_once=1, waiting=0, seconds=5)
    niceness = turns.run(lambda: str(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
    assert int(niceness) == NICENESS > os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_hashes_are_those_of_django(settings):
    """Stored passwords stay valid, and would without this class."""
    ours, theirs = (hasher().encode("secret", "salt", 1000) for hasher in (BoundedHasher, PBKDF2PasswordHasher))
    assert ours == theirs
    settings.PASSWORD_HASHERS = ["promptops.passwords.BoundedHasher"]
    assert check_password("secret", PBKDF2PasswordHasher().encode("secret", "salt" * 6))
