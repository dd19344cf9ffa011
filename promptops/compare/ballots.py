"""Blinding: hide which arm an answer came from.

This module decides which arm is on the left, and makes the mark that identifies a ballot without naming its arms. Both
are HMACs with the server's secret key: they stay the same when a page is loaded again, and nobody without the key can
derive an arm from them. A ballot is two arms' answers to one input and repeat; arms are ids here. Which ballots exist
is decided in `queries.votes`.
"""

from collections.abc import Sequence
from itertools import combinations

from django.utils.crypto import salted_hmac

Pair = tuple[int, int]


def pairs(comparison: int, arms: Sequence[int]) -> list[Pair]:
    """Return all pairs of arms, each in the order of `arms`; the order of the pairs is known only to the server.

    Inputs meet the pairs in this order. If it could be guessed, the documentation would reveal the arms of a ballot.
    """
    return sorted(combinations(arms, 2), key=lambda pair: _digest("order", comparison, *pair))


def mark(user: int, input: int, repeat: int, pair: Pair) -> str:
    """Return what the page sends back instead of the arms: 64 hexadecimal digits, different for every voter."""
    return _digest("mark", user, input, repeat, *pair).hex()


def first_on_left(user: int, input: int, repeat: int, pair: Pair) -> bool:
    """Return whether the first arm of the pair is on the left; a fair coin for each voter and ballot."""
    return bool(_digest("side", user, input, repeat, *pair)[0] & 1)


def _digest(purpose: str, *parts: int) -> bytes:
    return salted_hmac(f"promptops.ballots.{purpose}", ":".join(map(str, parts)), algorithm="sha256").digest()
