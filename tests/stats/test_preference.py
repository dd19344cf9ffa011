"""The statistics of votes, compared with published examples and checked by simulation."""

import random
from math import comb, isclose
from statistics import fmean

import numpy as np
import pytest

from promptops.stats.preference import (
    Interval,
    agreement,
    bradley_terry,
    share_of,
    strengths,
    student_t,
    verdict,
    wilson,
)


# Newcombe, "Two-sided confidence intervals for the single proportion" (Statistics in Medicine 17, 1998), table I.
@pytest.mark.parametrize(
    ("won", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_as_published(won, count, low, high):
    interval = wilson(won / count, count)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


# statsmodels 0.15, proportion_confint(share * count, count, method="wilson"); effective numbers are not whole.
@pytest.mark.parametrize(
    ("won", "count", "low", "high"),
    [(37.5, 60, 0.4985, 0.7365), (12, 18.25, 0.4304, 0.8299), (0, 7, 0.0, 0.3543), (210, 333, 0.5776, 0.6807)],
)
def test_wilson_as_in_statsmodels(won, count, low, high):
    interval = wilson(won / count, count)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_votes_on_inputs_as_in_statsmodels():
    """`OLS(means, ones).fit().bse` gives the error of the mean, from which the effective number and Wilson follow."""
    kinds = [[1.0, 1.0, 1.0], [1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0], [1.0]]
    interval = share_of({number: kinds[number % 5] for number in range(80)})
    assert (interval.share, round(interval.low, 4), round(interval.high, 4)) == (0.7, 0.6059, 0.7798)


# The tables of Student's t, 97.5%.
@pytest.mark.parametrize(
    ("freedom", "value"), [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (10, 2.228), (59, 2.001), (1000, 1.962)]
)
def test_student_t_as_tabled(freedom, value):
    assert isclose(student_t(freedom), value, rel_tol=0.005)


# Agresti, "Categorical Data Analysis": the American League's eastern division of 1987. Rows won against columns.
BASEBALL = np.array(
    [
        [0, 7, 9, 7, 7, 9, 11],  # Milwaukee
        [6, 0, 7, 5, 11, 9, 9],  # Detroit
        [4, 6, 0, 7, 7, 8, 12],  # Toronto
        [6, 8, 6, 0, 6, 7, 10],  # New York
        [6, 2, 6, 7, 0, 7, 12],  # Boston
        [4, 4, 5, 6, 6, 0, 6],  # Cleveland
        [2, 4, 1, 3, 1, 7, 0],  # Baltimore
    ],
    dtype=float,
)


def test_bradley_terry_as_published():
    fitted = bradley_terry(BASEBALL, prior=0)
    above_baltimore = [round(float(strength - fitted[-1]), 2) for strength in fitted]
    assert above_baltimore == [1.58, 1.44, 1.29, 1.25, 1.11, 0.68, 0.0]


# Half wins come from ties. statsmodels 0.15: GLM(binomial) on the differences of arms; scipy 1.17 gives the same with
# optimize.minimize without a prior.
@pytest.mark.parametrize(
    ("prior", "strengths"),
    [(0, [0.44358, 0.07881, 0.01996, -0.54235]), (0.5, [0.42292, 0.07471, 0.0182, -0.51583])],
)
def test_bradley_terry_as_in_statsmodels_and_scipy(prior, strengths):
    wins = np.array([[0, 13.5, 22, 9], [6.5, 0, 11, 14], [8, 9, 0, 20.5], [11, 6, 4.5, 0]])
    assert np.abs(bradley_terry(wins, prior=prior) - strengths).max() < 1e-5


def test_an_arm_that_won_everything_has_a_finite_strength():
    fitted = bradley_terry(np.array([[0.0, 9, 9], [0, 0, 5], [0, 4, 0]]))
    assert np.isfinite(fitted).all()
    assert fitted.argmax() == 0
    assert isclose(fitted.sum(), 0, abs_tol=1e-9)


def test_bradley_terry_without_games():
    assert np.isfinite(bradley_terry(np.zeros((3, 3)))).all()


# Krippendorff 2011, examples A (two observers, two names), B (two observers, five names) and C (four observers, with
# missing votes).
@pytest.mark.parametrize(
    ("rated", "alpha"),
    [
        (["01", "11", "01", "00", "00", "01", "00", "00", "10", "00"], 0.095),
        (["ab", "aa", "bb", "bb", "db", "cc", "cc", "cc", "ee", "dd", "dd", "ad"], 0.692),
        (["111", "2223", "3333", "3333", "2222", "1234", "4444", "1121", "2222", "555", "11", "3"], 0.743),
    ],
)
def test_agreement_as_published(rated, alpha):
    assert round(agreement(rated), 3) == alpha


@pytest.mark.parametrize("votes", [[], ["a"], ["aa", "aaa"]])
def test_agreement_is_unknown_without_shared_or_different_votes(votes):
    assert agreement(votes) is None


def test_without_votes_intervals_are_as_wide_as_possible():
    assert share_of({}) == Interval(0.5, 0.0, 1.0)
    assert verdict({"a": []}).winner is None
    assert verdict({}).more is None
    assert [strength.chance for strength in strengths({}, 3)] == [Interval(0.5, 0.0, 1.0)] * 3


def test_more_votes_on_the_same_inputs_do_not_narrow_the_interval():
    once = {number: [1.0 if number < 42 else 0.0] for number in range(60)}
    ten_times = {number: votes * 10 for number, votes in once.items()}
    assert share_of(ten_times) == share_of(once)


def test_several_differing_voters_narrow_the_interval():
    alone = share_of({number: [float(number % 2)] for number in range(60)})
    together = share_of({number: [0.0, 1.0, float(number % 2)] for number in range(60)})
    assert together.high - together.low < alone.high - alone.low


@pytest.mark.parametrize(
    ("won", "winner", "more"),
    [(50, "first", 0), (10, "second", 0), (31, None, 3527), (33, None, 350), (30, None, None)],
)
def test_a_winner_only_when_chance_cannot_explain_it(won, winner, more):
    result = verdict({number: [1.0 if number < won else 0.0] for number in range(60)})
    assert result.winner == winner
    assert result.inputs == 60
    if more:
        assert abs(result.more - more) <= more * 0.1
    else:
        assert result.more == more


def sixty_percent(inputs: int) -> dict[int, list[float]]:
    return {number: [1.0 if number % 5 < 3 else 0.0] for number in range(inputs)}


def test_the_number_of_more_inputs_is_about_enough():
    more = verdict(sixty_percent(60)).more
    assert 35 <= more <= 50
    assert verdict(sixty_percent(85)).winner is None
    assert verdict(sixty_percent(110)).winner == "first"


def test_all_ties_have_no_winner():
    result = verdict({number: [0.5] for number in range(200)})
    assert (result.winner, result.more, result.preference.share) == (None, None, 0.5)


def test_strengths_rank_the_arms_and_are_repeatable():
    matches = {
        number: [(0, 1, 1.0 if number % 4 else 0.0), (1, 2, 1.0 if number % 3 else 0.5), (0, 2, 1.0)]
        for number in range(60)
    }
    ranked = strengths(matches, 3)
    assert ranked == strengths(matches, 3)
    shares = [strength.chance.share for strength in ranked]
    assert shares == sorted(shares, reverse=True)
    assert all(strength.chance.low < strength.chance.share < strength.chance.high for strength in ranked)


@pytest.mark.parametrize("inputs", [60, 70, 85, 100, 137, 200, 500])
def test_coverage_with_one_vote_on_each_input_computed_exactly(inputs):
    """Weigh every possible outcome by its binomial probability, without simulation."""
    ends = [share_of({number: [float(number < won)] for number in range(inputs)}) for won in range(inputs + 1)]
    for percent in range(10, 91):
        truth = percent / 100
        chances = [comb(inputs, won) * truth**won * (1 - truth) ** (inputs - won) for won in range(inputs + 1)]
        held = sum(chance for chance, end in zip(chances, ends, strict=True) if end.low <= truth <= end.high)
        assert 0.93 <= held <= 0.97, (inputs, percent, held)


def test_few_votes_name_a_false_winner_in_at_most_5_percent():
    for inputs in range(2, 21):
        wins = [verdict({number: [float(number < won)] for number in range(inputs)}) for won in range(inputs + 1)]
        wrong = sum(comb(inputs, won) for won, result in enumerate(wins) if result.winner) / 2**inputs
        assert wrong <= 0.05, (inputs, wrong)


def simulated(
    preference: float, inputs: int, voters: int, ties: float, chance: random.Random
) -> dict[int, list[float]]:
    """Return the decided votes of one simulated comparison.

    With several voters (or repeats), each input has its own probability of a vote for the first arm, from a beta
    distribution, so that votes on the same input are correlated (1/3).
    """
    votes = {}
    for number in range(inputs):
        own = chance.betavariate(2 * preference, 2 * (1 - preference)) if voters > 1 else preference
        votes[number] = [float(chance.random() < own) for _ in range(voters) if chance.random() >= ties]
    return votes


SETTINGS = [(1, 0.0), (1, 0.2), (3, 0.0), (3, 0.2), (6, 0.2)]
"""Votes on each input (voters times repeats), and the share of ties."""


def held(preference: float, comparisons: int, inputs: range, voters: int, ties: float, chance: random.Random) -> float:
    """Return how often the interval contains the truth.

    The number of inputs varies. With a fixed number, coverage jumps with the preference, because votes are whole.
    """
    intervals = [
        share_of(simulated(preference, chance.choice(inputs), voters, ties, chance)) for _ in range(comparisons)
    ]
    return sum(each.low <= preference <= each.high for each in intervals) / comparisons


@pytest.mark.parametrize(("voters", "ties"), SETTINGS)
def test_intervals_contain_the_truth_in_about_95_percent(voters, ties):
    chance = random.Random(5)
    mean = fmean(held(tenth / 10, 40, range(60, 101), voters, ties, chance) for tenth in range(1, 10))
    assert 0.92 <= mean <= 0.98


@pytest.mark.proof
@pytest.mark.parametrize(("voters", "ties"), SETTINGS)
@pytest.mark.parametrize("inputs", [range(60, 101), range(101, 301)], ids=["60 to 100 inputs", "101 to 300"])
def test_intervals_contain_the_truth_in_93_to_97_percent_for_each_preference(inputs, voters, ties):
    chance = random.Random(11)
    coverage = [held(tenth / 10, 4000, inputs, voters, ties, chance) for tenth in range(1, 10)]
    print(f"{inputs}, {voters} votes each, {ties:.0%} ties:", " ".join(f"{share:.1%}" for share in coverage))
    assert all(0.93 <= share <= 0.97 for share in coverage)


@pytest.mark.proof
@pytest.mark.parametrize(("voters", "ties"), SETTINGS)
def test_a_thousand_comparisons_of_any_preference(voters, ties):
    chance = random.Random(12)
    coverage = [held(chance.uniform(0.1, 0.9), 1, range(60, 201), voters, ties, chance) for _ in range(1000)]
    print(f"{voters} votes each, {ties:.0%} ties: {fmean(coverage):.1%}")
    assert 0.93 <= fmean(coverage) <= 0.97


def true_strengths_held(comparisons: int, chance: random.Random) -> float:
    """Return the share of bootstrap intervals of three arms over 60 inputs that contain the true strength."""
    true = np.array([0.6, 0.0, -0.6])
    held = 0
    for _ in range(comparisons):
        matches = {
            number: [
                (one, other, float(chance.random() < 1 / (1 + np.exp(true[other] - true[one]))))
                for one, other in ((0, 1), (0, 2), (1, 2))
            ]
            for number in range(60)
        }
        for strength, truth in zip(strengths(matches, 3), true, strict=True):
            held += strength.chance.low <= 1 / (1 + np.exp(-truth)) <= strength.chance.high
    return held / (3 * comparisons)


@pytest.mark.proof
def test_bootstrap_intervals_contain_the_truth():
    held = true_strengths_held(1000, random.Random(3))
    print(f"Bradley-Terry, 1,000 comparisons of three arms: {held:.1%}")
    assert 0.93 <= held <= 0.97
