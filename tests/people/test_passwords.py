"""Hashing passwords: the number of hashes at once, and their priority."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher, check_password

from promptops.people.passwords import AT_ONCE, NICENESS, BoundedHasher, hashes_at_once


def hash_with(monkeypatch, work) -> None:
    """Replace Django's hashing by `work`, which would take a quarter of a second."""
    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", lambda hasher, password, salt, iterations: work(password))


@pytest.mark.parametrize(("cores", "hashes"), [(1, 1), (2, 1), (3, 2), (5, 4), (64, 4)])
def test_one_core_of_several_stays_free_for_pages(cores, hashes):
    assert hashes_at_once(cores) == hashes


def test_hashing_waits_for_a_turn(monkeypatch):
    at_once, most, lock = 0, 0, threading.Lock()
    begin = threading.Barrier(10)

    def work(password: str) -> str:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.05)
        with lock:
            at_once -= 1
        return f"hash of {password}"

    def one(number: int) -> str:
        begin.wait()
        return BoundedHasher().encode(f"secret {number}", "salt")

    hash_with(monkeypatch, work)
    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(one, range(10))) == [f"hash of secret {number}" for number in range(10)]
    assert most == AT_ONCE


def test_a_failure_gives_its_turn_back(monkeypatch):
    hash_with(monkeypatch, int)
    for _ in range(AT_ONCE + 1):
        with pytest.raises(ValueError, match="secret"):
            BoundedHasher().encode("secret", "salt")
    assert BoundedHasher().encode("12", "salt") == "12"


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
def test_hashing_gives_way_to_pages(monkeypatch):
    def niceness(_: str = "") -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    hash_with(monkeypatch, niceness)
    assert int(BoundedHasher().encode("secret", "salt")) == min(19, niceness() + NICENESS)


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
def test_a_server_of_low_priority_hashes_with_a_lower_one(settings):
    """Only root may raise a priority. A thread that tried would end, and nobody could sign in."""
    code = (
        "import os; from promptops.people.passwords import _threads; os.nice(7 - os.nice(0)); "
        "print(_threads.submit(os.getpriority, os.PRIO_PROCESS, 0).result())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=settings.BASE_DIR, capture_output=True, text=True)
    assert done.stdout == f"{7 + NICENESS}\n", done.stderr


def test_hashes_are_those_of_django(settings):
    """Stored passwords stay valid, with and without this class."""
    ours, theirs = (hasher().encode("secret", "salt", 1000) for hasher in (BoundedHasher, PBKDF2PasswordHasher))
    assert ours == theirs
    settings.PASSWORD_HASHERS = ["promptops.people.passwords.BoundedHasher"]
    assert check_password("secret", PBKDF2PasswordHasher().encode("secret", "salt" * 6))
