"""The limit of open connections, and the choice of one to close for a new one."""

from promptops.management.commands._connections import Connections


class Line:
    def __init__(self, *, waiting: bool = True) -> None:
        self.is_waiting = waiting
        self.is_open = True

    def drop(self) -> None:
        self.is_open = False


def opened(connections: Connections, address: str, count: int, *, waiting: bool = True) -> list[Line]:
    lines = [Line(waiting=waiting) for _ in range(count)]
    for line in lines:
        assert connections.add(line)
        assert connections.assign(line, address)
    return lines


def test_the_longest_waiting_connection_closes_for_a_new_one():
    connections = Connections(most=100, per_address=3)
    (busy,) = opened(connections, "a", 1, waiting=False)
    first, second, third = opened(connections, "a", 3)
    assert [line.is_open for line in (busy, first, second, third)] == [True, False, True, True]
    assert connections.count("a") == len(connections) == 3


def test_an_address_with_only_busy_connections_gets_no_more_but_others_do():
    connections = Connections(most=100, per_address=2)
    opened(connections, "a", 2, waiting=False)
    refused = Line()
    assert connections.add(refused)
    assert not connections.assign(refused, "a")
    assert len(connections) == 2
    opened(connections, "b", 2)


def test_at_the_total_limit_the_oldest_connection_of_any_address_closes():
    connections = Connections(most=3, per_address=3)
    (attacker, *_) = opened(connections, "a", 3)
    opened(connections, "b", 1)
    assert not attacker.is_open
    assert (connections.count("a"), connections.count("b"), len(connections)) == (2, 1, 3)
    full = Connections(most=1, per_address=1)
    opened(full, "a", 1, waiting=False)
    assert not full.add(Line())
    assert len(full) == 1


def test_closed_connections_leave_no_data():
    connections = Connections(most=100, per_address=3)
    lines = opened(connections, "a", 3)
    connections.forget(lines[0])
    connections.forget(lines[0])
    connections.assign(lines[1], "")  # a proxy's connection between two requests
    lines[2].drop()
    connections.forget_closed()
    assert (connections.count("a"), len(connections)) == (0, 1)
    assert connections._by_address == {}
