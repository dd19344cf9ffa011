"""The statistics of blind votes: the preference between two arms, the strengths of several, and agreement of voters.

The input is the unit. Repeats of an input and several voters on it are not independent, so the votes on an input first
become one figure, their mean. Intervals come from how much these means differ between inputs. How often the intervals
contain the truth is measured in docs/decisions/0015-intervals-of-votes.md.

Notation: an input i has the mean m_i of its votes, n is the number of inputs, p the mean of the m_i, V the number of
votes, and z = 1.96 the 97.5% point of the normal distribution. Reading votes from the database does not belong here.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, fmean
from typing import Any

import numpy as np

from promptops.texts.formats import whole_percent

CONFIDENCE = 0.95
RESAMPLES = 1000
"""Bootstrap resamples: 25 lie beyond each end of a 95% interval (Efron and Tibshirani 1993, ch. 14)."""

MOST_MORE = 10_000
"""If more inputs than this would be needed to tell a preference from one half, no number of inputs is given."""

FEW_INPUTS = 60
"""Below this many inputs, intervals are widened by Student's t; see `effective_inputs`."""

PRIOR = 0.5
"""Wins added in both directions to each pair that met: an arm that won or lost everything gets a finite strength.

The Haldane-Anscombe correction adds one half to each cell of a table in the same way.
"""

Scores = Mapping[Any, Sequence[float]]
"""The scores of the votes by input: 1.0 for the first arm, 0.0 for the second, 0.5 for neither."""

Means = Sequence[float] | np.ndarray
"""The mean score of each input that has a vote: the m_i."""


@dataclass(frozen=True)
class Interval:
    """A share between 0 and 1 with the ends of its 95% interval.

    As a string: "63% (51 to 73)". An end that would round to 50 says on which side of 50 it is:
    "62% (just over 50 to 73)".
    """

    share: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{whole_percent(self.share)} ({_end(self.low)} to {_end(self.high)})"

    @property
    def includes_half(self) -> bool:
        """Return whether chance alone could explain the share."""
        return self.low <= 0.5 <= self.high


def _end(share: float) -> str:
    if share != 0.5 and round(100 * share) == 50:
        return f"just {'over' if share > 0.5 else 'under'} 50"
    return f"{100 * share:.0f}"


@dataclass(frozen=True)
class Verdict:
    """The preference for the first arm, and the winner if there is one.

    `winner` is "first", "second" or None. Without a winner, `more` is about how many more inputs would show one at this
    preference, None if that is more than `MOST_MORE`.
    """

    preference: Interval
    inputs: int
    winner: str | None
    more: int | None


def share_of(scores: Scores) -> Interval:
    """Return p with its interval; `Interval(0.5, 0, 1)` without votes.

    Every input has the same weight, however many votes it has. The interval is Wilson's score interval (`wilson`) with
    the effective number of votes (`effective_inputs`) instead of their number. Source: Korn and Graubard 1998; Dean and
    Pagano 2015.
    """
    return share_of_means(*_means(scores))


def share_of_means(means: Means, votes: int) -> Interval:
    """Return the same as `share_of` from the m_i and V."""
    return wilson(fmean(means), effective_inputs(means, votes)) if len(means) else Interval(0.5, 0.0, 1.0)


def _means(scores: Scores) -> tuple[list[float], int]:
    voted = [votes for votes in scores.values() if votes]
    return [fmean(votes) for votes in voted], sum(map(len, voted))


def effective_inputs(means: Means, votes: int) -> float:
    """Return the number of independent votes of 0 or 1 that carry as much information as these means.

    It is the number at which a binomial share varies as much as p does: min(V, p (1 - p) / (s^2 / n)), where s^2 is the
    sample variance of the m_i; n if s is 0 or p is 0 or 1. Below `FEW_INPUTS` inputs s^2 is itself uncertain, so the
    number is multiplied by (z / t)^2, where t is the 97.5% point of Student's t with n - 1 degrees of freedom. Source:
    Korn and Graubard 1998, "Confidence intervals for proportions with small expected number of positive counts".
    """
    count, share = len(means), fmean(means)
    if count < 2:
        return float(count)
    # Rounding would give equal means a small variance.
    spread = float(np.var(means, ddof=1)) / count if np.ptp(means) > 0 else 0.0
    # If all inputs agree, their variance is unknown: each input counts as one vote.
    effective = min(votes, share * (1 - share) / spread) if spread > 0 and 0 < share < 1 else count
    if count >= FEW_INPUTS:
        return effective
    normal = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    return effective * (normal / student_t(count - 1)) ** 2


def wilson(share: float, count: float) -> Interval:
    """Return the score interval of a share p of `count` independent votes c.

    (p + z^2 / 2c ± z sqrt(p (1 - p) / c + z^2 / 4c^2)) / (1 + z^2 / c). Source: Wilson 1927, "Probable inference, the
    law of succession, and statistical inference".
    """
    z2 = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) ** 2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = sqrt(z2 * (share * (1 - share) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def student_t(freedom: int) -> float:
    """Return the 97.5% point of Student's t for `freedom` degrees of freedom, within 0.5%.

    For 1 and 2 degrees from the table; from 3 on by the expansion z + g1(z) / f + ... + g4(z) / f^4. Source: Abramowitz
    and Stegun, 26.7.5.
    """
    if freedom < 3:
        return {1: 12.706, 2: 4.303}[freedom]
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, start=1))


def verdict(scores: Scores) -> Verdict:
    """Return the preferred arm if the interval excludes one half, else about how many more inputs are needed.

    Wilson's interval excludes one half when the effective number of votes exceeds z^2 / (4 (p - 1/2)^2). With e
    effective votes per input, this takes z^2 / (4 (p - 1/2)^2 e) inputs.
    """
    return verdict_of_means(*_means(scores))


def verdict_of_means(means: Means, votes: int) -> Verdict:
    """Return the same as `verdict` from the m_i and V."""
    preference, inputs = share_of_means(means, votes), len(means)
    if inputs and not preference.includes_half:
        return Verdict(preference, inputs, "first" if preference.share > 0.5 else "second", 0)
    distance = abs(preference.share - 0.5)
    if not inputs or distance < 1e-9:
        return Verdict(preference, inputs, None, None)
    needed = votes_to_decide(preference.share) * inputs / effective_inputs(means, votes)
    more = max(1, round(needed - inputs + 0.5))
    return Verdict(preference, inputs, None, more if more <= MOST_MORE else None)


def votes_to_decide(share: float) -> float:
    """Return the effective number of votes at which the interval of this share begins to exclude one half.

    It is z^2 / (4 (p - 1/2)^2). A comparison of this size is decided about every second time: its own share may come
    out lower. `share` must not be one half.
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    return z**2 / (4 * (share - 0.5) ** 2)


@dataclass(frozen=True)
class Strength:
    """An arm's Bradley-Terry strength as its chance to win against an arm of average strength, with the interval."""

    chance: Interval


Match = tuple[int, int, float]
"""Two arms and the score of the first one: 1 for a win, 0 for a loss, 0.5 for a tie or neither."""


def strengths(matches: Mapping[Hashable, Sequence[Match]], arms: int, *, seed: int = 1) -> list[Strength]:
    """Return the Bradley-Terry strength of each of `arms` arms, numbered from 0, from the matches on each input.

    An arm of log-strength b (mean 0) has the chance 1 / (1 + exp(-b)) against an average arm. A tie or neither is half
    a win for both. Every input has the same weight, however many votes it has. The intervals are the 2.5th and 97.5th
    percentiles of `RESAMPLES` bootstrap resamples of the inputs; `seed` makes them repeatable. Source: Bradley and
    Terry 1952; Efron and Tibshirani 1993, ch. 13.
    """
    return strengths_of_tables(np.array([_wins(votes, arms) for votes in matches.values() if votes]), arms, seed=seed)


def strengths_of_tables(tables: np.ndarray, arms: int, *, seed: int = 1) -> list[Strength]:
    """Return the same as `strengths` from one table per input: [i, j] is the share of its votes on i and j for i."""
    if not len(tables):
        return [Strength(Interval(0.5, 0.0, 1.0)) for _ in range(arms)]
    chances = _chances(bradley_terry(tables.sum(axis=0)))
    # `drawn[r, i]` is how often resample r contains input i.
    random, count = np.random.default_rng(seed), len(tables)
    places = random.integers(count, size=(RESAMPLES, count)) + count * np.arange(RESAMPLES)[:, None]
    drawn = np.bincount(places.ravel(), minlength=RESAMPLES * count).reshape(RESAMPLES, count).astype(float)
    # No matrix product: its threads would keep every core busy while pages are served.
    summed = np.einsum("ri,iab->rab", drawn, tables)
    resampled = _chances(bradley_terry(summed))
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return [Strength(Interval(float(chances[arm]), float(low[arm]), float(high[arm]))) for arm in range(arms)]


def bradley_terry(wins: np.ndarray, *, prior: float = PRIOR) -> np.ndarray:
    """Return the maximum likelihood log-strengths, with mean 0, of tables of wins: `wins[..., i, j]` is i against j.

    The model is P(i beats j) = s_i / (s_i + s_j). Each step sets s_i = w_i / sum over j of g_ij / (s_i + s_j), with the
    wins w_i and the games g_ij, until no strength changes by a millionth. Arms without games have strength 0. Several
    tables are solved at once. Source: Hunter 2004, "MM algorithms for generalized Bradley-Terry models", Annals of
    Statistics 32.
    """
    won_by = np.swapaxes(wins, -1, -2)
    wins = np.where(wins + won_by > 0, wins + prior, 0.0)
    games, won = wins + np.swapaxes(wins, -1, -2), wins.sum(axis=-1)
    strength = np.ones(won.shape)
    for _ in range(10_000):
        shared = (games / (strength[..., :, None] + strength[..., None, :])).sum(axis=-1)
        moved = np.where(shared > 0, won / np.where(shared > 0, shared, 1), 1.0)
        moved /= np.exp(np.log(moved).mean(axis=-1, keepdims=True))
        change = np.abs(np.log(moved / strength)).max()
        strength = moved
        if change < 1e-6:
            break
    return np.asarray(np.log(strength))


def _wins(matches: Sequence[Match], arms: int) -> np.ndarray:
    """Return the table of one input, in which the wins of each pair that met add up to one."""
    table = np.zeros((arms, arms))
    for first, second, score in matches:
        table[first, second] += score
        table[second, first] += 1 - score
    games = table + table.T
    return np.divide(table, games, out=np.zeros_like(table), where=games > 0)


def _chances(log_strengths: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-log_strengths)))


def agreement(votes: Iterable[Sequence[Hashable]]) -> float | None:
    """Return Krippendorff's alpha for nominal values: 1 if voters always agree, 0 if as often as by chance.

    `votes` has the choices of the voters for each item; a missing vote is left out. alpha = 1 - observed disagreement /
    expected disagreement. Returns None if no item has two votes, or all votes are the same. Source: Krippendorff 2011,
    "Computing Krippendorff's Alpha-Reliability".
    """
    counts = [Counter(choices) for choices in votes]
    names = list({name: None for choices in counts for name in choices})
    return agreement_of_counts(np.array([[choices[name] for name in names] for choices in counts]))


def agreement_of_counts(counts: np.ndarray) -> float | None:
    """Return the same as `agreement` from how often each value (column) was chosen for each item (row).

    With the counts n_uc of value c for item u, n_u votes on the item, n_c votes for the value and N votes on items with
    two or more votes: alpha = 1 - (N - 1) sum over u of (n_u^2 - sum of n_uc^2) / (n_u - 1) / (N^2 - sum of n_c^2).
    """
    voters = counts.sum(axis=-1)
    shared, voters = counts[voters > 1], voters[voters > 1]
    totals = shared.sum(axis=0)
    everything = int(totals.sum())
    expected = everything**2 - int((totals**2).sum())
    if not expected:
        return None
    observed = ((voters**2 - (shared**2).sum(axis=1)) / (voters - 1)).sum()
    return float(1 - (everything - 1) * observed / expected)
