"""How many passwords are hashed at once, and how many wait."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher, check_password

from promptops.passwords import BoundedHasher, HashesBusy, Turns


def test_so_many_at_once_so_many_wait_and_the_rest_is_refused():
    turns = Turns(at_once=2, waiting=3, seconds=5)
    at_once, most, lock = 0, 0, threading.Lock()
    begin = threading.Barrier(10)

    def one(_: int) -> bool:
        nonlocal at_once, most
        begin.wait()
        try:
            with turns.take():
                with lock:
                    at_once += 1
                    most = max(most, at_once)
                time.sleep(0.2)
                with lock:
                    at_once -= 1
            return True
        except HashesBusy:
            return False

    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(one, range(10))) == 5
    assert most == 2


def test_waiting_ends_and_a_failure_gives_its_turn_back():
    turns = Turns(at_once=1, waiting=1, seconds=0.05)
    with turns.take(), pytest.raises(HashesBusy), turns.take():
        pass
    with pytest.raises(ZeroDivisionError), turns.take():
        raise ZeroDivisionError
    with turns.take():
        pass


def test_hashes_are_those_of_django(settings):
    """Stored passwords stay valid, and would without this class."""
    ours, theirs = (hasher().encode("secret", "salt", 1000) for hasher in (BoundedHasher, PBKDF2PasswordHasher))
    assert ours == theirs
    settings.PASSWORD_HASHERS = ["promptops.passwords.BoundedHasher"]
    assert check_password("secret", PBKDF2PasswordHasher().encode("secret", "salt" * 6))
