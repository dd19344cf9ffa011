"""The hashes of the live documents that this process has run: an acknowledgement counts only with the right one."""

from collections import OrderedDict

REMEMBERED = 200
"""Revisions. A server that is further behind is shown as lagging in any case."""

_hashes: "OrderedDict[tuple[str, int], str]" = OrderedDict()


def remember(epoch: str, revision: int, sha256: str) -> None:
    """Remember the hash of the live document of a revision."""
    _hashes[epoch, revision] = sha256
    while len(_hashes) > REMEMBERED:
        _hashes.popitem(last=False)


def expected_sha256(epoch: str, revision: int) -> str | None:
    """Return the hash of the live document of a revision, or None if this process does not know it."""
    return _hashes.get((epoch, revision))


def forget() -> None:
    """Forget all hashes. For tests."""
    _hashes.clear()
