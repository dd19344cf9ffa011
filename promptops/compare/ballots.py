"""What keeps a vote blind: which arm stands on the left, and the mark by which a ballot is known without naming arms.

Both are HMACs with the server's secret key, so that they stay the same when a page is loaded again and tell nothing to
who sees them. A ballot is two arms' answers to one input and repeat; arms are named by their ids here.
"""

from collections.abc import Sequence
from itertools import combinations

from django.utils.crypto import salted_hmac

Pair = tuple[int, int]


def pairs(comparison: int, arms: Sequence[int]) -> list[Pair]:
    """All pairs of arms, each in the order of `arms`; the pairs themselves in an order that only the server knows.

    Inputs meet the pairs in this order, so a guessable one would tell who reads the documentation which arms a ballot
    is of.
    """
    return sorted(combinations(arms, 2), key=lambda pair: _digest("order", comparison, *pair))


def mark(user: int, input: int, repeat: int, pair: Pair) -> str:
    """What the page sends back in place of the arms: 64 hexadecimal digits, others for every voter."""
    return _digest("mark", user, input, repeat, *pair).hex()


def first_on_left(user: int, input: int, repeat: int, pair: Pair) -> bool:
    """Whether the first arm of the pair stands on the left; as good as a coin, for every voter and ballot anew."""
    return bool(_digest("side", user, input, repeat, *pair)[0] & 1)


def _digest(purpose: str, *parts: int) -> bytes:
    return salted_hmac(f"promptops.ballots.{purpose}", ":".join(map(str, parts)), algorithm="sha256").digest()
