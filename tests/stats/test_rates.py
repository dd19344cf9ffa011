"""Count events of the last minute."""

from promptops.stats.rates import Rate


def test_a_rate_counts_the_last_minute_only():
    now = [100.0]
    rate = Rate(lambda: now[0])
    assert rate.a_minute() == 0
    for now[0] in (100.0, 100.9, 130.0):
        rate.add()
    assert rate.a_minute() == 3
    now[0] = 160.5
    assert rate.a_minute() == 1
    now[0] = 500.0
    assert rate.a_minute() == 0


def test_the_memory_of_a_rate_is_bounded():
    now = [0.0]
    rate = Rate(lambda: now[0])
    for second in range(500):
        now[0] = float(second)
        rate.add()
    assert len(rate._counts) <= 60
