"""Results that threads share: read once, for a while, and never kept after an error."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier, Event

import pytest

from promptops.platform.caches import Shared


def test_one_thread_reads_and_the_others_wait_for_its_result() -> None:
    shared: Shared[int] = Shared(size=2, seconds=60)
    numbers, together, goes_on = count(), Barrier(4), Event()

    def read() -> int:
        goes_on.wait(5)
        return next(numbers)

    def ask() -> int:
        together.wait(5)
        return shared.get("key", read)

    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(ask) for _ in range(4)]
        goes_on.set()
        assert [answer.result(5) for answer in answers] == [0, 0, 0, 0]


def test_results_end_by_time_and_by_number() -> None:
    numbers = count()
    passing: Shared[int] = Shared(size=2, seconds=0)
    assert [passing.get("key", lambda: next(numbers)) for _ in range(2)] == [0, 1]
    shared: Shared[str] = Shared(size=2, seconds=60)
    for key in "abc":
        shared.get(key, lambda key=key: key)
    assert shared.get("c", lambda: "again") == "c"
    assert shared.get("a", lambda: "again") == "again"


def test_an_error_is_not_kept() -> None:
    shared: Shared[int] = Shared(size=2, seconds=60)
    with pytest.raises(ZeroDivisionError):
        shared.get("key", lambda: 1 // 0)
    assert shared.get("key", lambda: 1) == 1
