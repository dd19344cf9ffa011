"""The arithmetic of breakers and budgets: tables and properties. Runs with a breaker are in test_health.py."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from promptops.engine.breaker import (
    EXTRA_CALLS_PER_RUN,
    EXTRA_CALLS_SAVED,
    FAILURES_TO_OPEN,
    OPEN_SECONDS,
    RATE_TO_OPEN,
    RATE_WINDOW,
    Breaker,
    Budget,
)

EVERY_THIRD = "ssf" * 7
OPEN_BY_RATE = EVERY_THIRD[:RATE_WINDOW] + "f"
MOST = int(RATE_WINDOW * RATE_TO_OPEN)


def play(steps: str) -> tuple[Breaker, float]:
    """Apply the steps: f failure, s success, p a probe begins, F it fails, S it succeeds, C it is canceled, + wait."""
    breaker, now = Breaker(), 0.0
    for step in steps:
        match step:
            case "f" | "F":
                breaker.failure(now, probe=step == "F")
            case "s" | "S":
                breaker.success(probe=step == "S")
            case "p":
                assert not breaker.blocks(now)
                breaker.probing = True
            case "C":
                breaker.probing = False
            case "+":
                now += OPEN_SECONDS
    return breaker, now


@pytest.mark.parametrize(
    ("steps", "state", "blocks"),
    [
        ("", "closed", False),
        ("f" * (FAILURES_TO_OPEN - 1), "closed", False),
        ("f" * (FAILURES_TO_OPEN - 1) + "s" + "f" * (FAILURES_TO_OPEN - 1), "closed", False),
        ("f" * FAILURES_TO_OPEN, "open", True),
        ("f" * FAILURES_TO_OPEN + "+", "open", False),
        ("f" * FAILURES_TO_OPEN + "+p", "half_open", True),
        ("f" * FAILURES_TO_OPEN + "+p+", "half_open", True),
        ("f" * FAILURES_TO_OPEN + "+pF", "open", True),
        ("f" * FAILURES_TO_OPEN + "+pF+", "open", False),
        ("f" * FAILURES_TO_OPEN + "+pC", "open", False),
        ("f" * FAILURES_TO_OPEN + "+pS", "closed", False),
        ("f" * FAILURES_TO_OPEN + "s", "closed", False),  # a call from before it opened
        ("f" * FAILURES_TO_OPEN + "+pf", "half_open", True),  # so does a late failure decide nothing
        ("f" * FAILURES_TO_OPEN + "+pSf", "closed", False),
        # The rate
        (EVERY_THIRD[: RATE_WINDOW - 1], "closed", False),  # too few calls to tell
        (OPEN_BY_RATE, "open", True),
        (OPEN_BY_RATE + "s", "open", True),  # most of its calls succeed all the time
        (OPEN_BY_RATE + "+", "open", False),
        (OPEN_BY_RATE + "+p", "half_open", True),
        (OPEN_BY_RATE + "+ps", "half_open", True),
        (OPEN_BY_RATE + "+pF", "open", True),
        (OPEN_BY_RATE + "+pC", "open", False),
        (OPEN_BY_RATE + "+pS", "closed", False),
        (OPEN_BY_RATE + "+pSf", "closed", False),  # what was counted before the probe is forgotten
        (OPEN_BY_RATE + "+pS" + OPEN_BY_RATE, "open", True),
        ("s" * RATE_WINDOW + "sf" * (MOST - 1), "closed", False),
        ("s" * RATE_WINDOW + "sf" * MOST, "open", True),
        (("s" * 4 + "f") * 40, "closed", False),  # every fifth
    ],
)
def test_the_breaker(steps, state, blocks):
    breaker, now = play(steps)
    assert (breaker.state, breaker.blocks(now)) == (state, blocks)


@given(st.text("sf", max_size=80))
def test_a_breaker_opens_exactly_after_failures_in_a_row_or_a_rate(steps):
    """Compute the state in another way: from the outcomes until the breaker opens."""
    breaker = Breaker()
    for count, step in enumerate(steps, 1):
        if step == "s":
            breaker.success()
        else:
            breaker.failure(0.0, probe=False)
        latest = steps[max(0, count - RATE_WINDOW) : count]
        in_a_row = steps[:count].endswith("f" * FAILURES_TO_OPEN)
        rate = step == "f" and len(latest) == RATE_WINDOW and latest.count("f") >= MOST
        assert (breaker.state == "open") is (in_a_row or rate)
        if breaker.state == "open":
            return


@given(st.text("sfpFSC+", max_size=60))
def test_a_breaker_blocks_only_while_open_and_lets_one_probe_through(steps):
    breaker, now = Breaker(), 0.0
    for step in steps:
        if step == "+":
            now += OPEN_SECONDS / 2
        elif step == "p" and breaker.state == "open" and not breaker.blocks(now):
            breaker.probing = True
            assert breaker.blocks(now + 1e9)  # a second probe waits for the first
        elif step in "FSC" and breaker.probing:
            if step == "F":
                breaker.failure(now, probe=True)
            elif step == "S":
                breaker.success(probe=True)
            else:
                breaker.probing = False
            assert breaker.state == {"F": "open", "S": "closed", "C": "open"}[step]
        elif step == "s":
            breaker.success()
        elif step == "f":
            breaker.failure(now, probe=False)
        assert not (breaker.state == "closed" and breaker.blocks(now))
        assert breaker.probing or not breaker.blocks(now + OPEN_SECONDS)


@given(st.integers(0, RATE_WINDOW * 3))
def test_a_provider_that_fails_every_third_call_is_opened_wherever_it_begins(succeeded_before):
    breaker, _ = play("s" * succeeded_before + "fss" * RATE_WINDOW)
    assert breaker.state == "open"


def test_a_copy_shares_nothing():
    breaker, _ = play(EVERY_THIRD[: RATE_WINDOW - 1])
    twin = breaker.copy()
    for _ in range(2):
        twin.failure(0.0, probe=False)
    assert (breaker.state, twin.state) == ("closed", "open")


# Budgets


@example(0.7, [False, False, True])  # three times 0.1 are a little too few
@given(st.floats(0, EXTRA_CALLS_SAVED), st.lists(st.booleans(), max_size=300))
def test_a_budget_allows_what_was_earned_and_what_was_saved(saved, runs):
    budget = Budget(saved)
    spent = 0
    for wants in runs:
        budget.earn(EXTRA_CALLS_PER_RUN)
        spent += wants and budget.spend()
        assert 0 <= budget.calls <= EXTRA_CALLS_SAVED
    assert spent <= saved + len(runs) * EXTRA_CALLS_PER_RUN + 1e-6


def test_ten_runs_earn_one_call():
    budget = Budget()
    for _ in range(10):
        assert not budget.spend()
        budget.earn(0.1)
    assert (budget.spend(), budget.spend()) == (True, False)
