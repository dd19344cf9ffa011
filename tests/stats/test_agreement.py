"""Cohen's kappa with its interval."""

import pytest

from promptops.stats.agreement import Agreement


@pytest.mark.parametrize(
    ("counts", "kappa", "low", "high"),
    [
        ((20, 5, 10, 15), 0.4, 0.125, 0.618),  # p_o = 35 / 50, p_e = 0.5
        ((25, 0, 0, 25), 1.0, 0.857, 1.0),  # full agreement has a width, too
        ((0, 25, 25, 0), -1.0, -1.0, -0.857),
        ((45, 15, 25, 15), 0.13, -0.083, 0.327),  # p_o = 0.6, p_e = 0.54
    ],
)
def test_kappa_is_the_agreement_beyond_chance(counts, kappa, low, high) -> None:
    given = Agreement(*counts).kappa
    assert given is not None
    assert (given.value, given.low, given.high) == pytest.approx((kappa, low, high), abs=0.002)


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (14, 0, 0, 15), (40, 0, 0, 0), (0, 0, 0, 40)])
def test_too_few_texts_or_one_kind_only_have_no_kappa(counts) -> None:
    assert Agreement(*counts).kappa is None
