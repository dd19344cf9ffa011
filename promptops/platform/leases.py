"""Leases: work that one process of the installation does at a time. The lease of a dead process ends by itself.

Times are those of the database, so the clocks of the machines may differ. A lease saves work, but it cannot stop a
process that hangs and goes on after its lease has ended. So the work itself must stay correct if two processes do it.
"""

import os
import socket
import time
from datetime import timedelta
from uuid import uuid4

from django.db.models import Q
from django.db.models.functions import Now

from promptops.platform.models import Lease

SECONDS = 30.0
"""Seconds that a lease lasts without renewal. After that time another process takes over the work of a dead one."""
HOLDER = f"{socket.gethostname()[:80]}:{os.getpid()}:{uuid4().hex}"
"""Names this life of the process."""
_held: dict[str, float] = {}
"""The end of each lease of this process, by the monotonic clock."""


def held() -> list[str]:
    """Return the leases that this process has. Reads memory only."""
    return [name for name, until in _held.items() if until > time.monotonic()]


def take(name: str, *, holder: str = HOLDER, seconds: float = SECONDS) -> bool:
    """Take or renew the lease, and return whether `holder` has it from now on. Raises errors of the database."""
    is_taken = _take(name, holder, seconds)
    if is_taken and holder == HOLDER:
        _held[name] = time.monotonic() + seconds
    elif holder == HOLDER:
        _held.pop(name, None)
    return is_taken


def _take(name: str, holder: str, seconds: float) -> bool:
    until = Now() + timedelta(seconds=seconds)
    rows = Lease.objects.filter(Q(holder=holder) | Q(until__lte=Now()), name=name)
    if rows.update(holder=holder, until=until):
        return True
    if Lease.objects.filter(name=name).exists():
        return False
    # Of two processes that meet a new name, both insert, one row stays, and one update finds it free.
    Lease.objects.bulk_create([Lease(name=name, holder="", until=Now())], ignore_conflicts=True)
    return bool(rows.update(holder=holder, until=until))


def release(name: str, *, holder: str = HOLDER) -> None:
    """End the lease at once, if `holder` has it, so that another process need not wait."""
    if holder == HOLDER:
        _held.pop(name, None)
    Lease.objects.filter(name=name, holder=holder).update(until=Now())
