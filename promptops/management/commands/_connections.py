"""The limits of open connections, in all and for one client, and the choice of the one that closes to make room.

Knows nothing of HTTP: a connection is anything with `is_waiting`, `is_open` and `drop()`.
"""

import resource
from typing import Protocol

MOST_FILES = 16_384
"""Open files that the process requests, if the hard limit allows it. A connection takes one and about 20 KiB."""
RESERVED_FILES = 256
"""Files left for the database, providers, Redis, static files and Python itself."""


class Connection(Protocol):
    """The part of a connection that `Connections` needs."""

    is_waiting: bool
    """True without a complete request: the connection is idle, or still sends one."""
    is_open: bool

    def drop(self) -> None:
        """Close at once."""


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one, at most MOST_FILES, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return MOST_FILES if soft == resource.RLIM_INFINITY else min(soft, MOST_FILES)


def most_connections() -> int:
    """Raise the limit of open files, and return how many connections fit into it."""
    files = raise_file_limit()
    return files - min(RESERVED_FILES, files // 2)


class Connections:
    """The open connections. If there is no room for one more, the one that has waited longest closes."""

    def __init__(self, most: int, per_address: int) -> None:
        self.most = most
        self.per_address = per_address
        self._all: dict[Connection, str] = {}  # oldest first; the address that each counts for, or ""
        self._by_address: dict[str, dict[Connection, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def count(self, address: str) -> int:
        """Return how many connections count for the address."""
        return len(self._by_address.get(address, ()))

    def add(self, connection: Connection) -> bool:
        """Count one more. Return False, and do not count it, if all others are busy."""
        self._all[connection] = ""
        return self._make_room(self._all, self.most, connection)

    def assign(self, connection: Connection, address: str) -> bool:
        """Count the connection for `address` ("" for none). Return False, and forget it, if all others are busy."""
        if connection not in self._all:
            return True
        self._unassign(connection)
        self._all[connection] = address
        if not address:
            return True
        group = self._by_address.setdefault(address, {})
        group[connection] = None
        return self._make_room(group, self.per_address, connection)

    def forget(self, connection: Connection) -> None:
        """Stop counting a connection that is closed."""
        if connection in self._all:
            self._unassign(connection)
            del self._all[connection]

    def forget_closed(self) -> None:
        """Forget connections that closed without saying so, as those that became WebSockets do."""
        for connection in [connection for connection in self._all if not connection.is_open]:
            self.forget(connection)

    def _unassign(self, connection: Connection) -> None:
        if address := self._all[connection]:
            group = self._by_address[address]
            group.pop(connection, None)
            if not group:
                del self._by_address[address]

    def _make_room(
        self, group: "dict[Connection, str] | dict[Connection, None]", most: int, newest: Connection
    ) -> bool:
        if len(group) <= most:
            return True
        oldest = next((other for other in group if other.is_waiting and other is not newest), None)
        self.forget(oldest or newest)
        if oldest is None:
            return False
        oldest.drop()
        return True
