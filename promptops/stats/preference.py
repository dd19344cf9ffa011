"""What blind votes say, and how sure one may be: preference between two, strengths among several, agreement.

The input is the unit. Repeats of an input and several voters on it are not independent, so every input first becomes
one figure, the mean of its votes, and intervals come from how much the inputs differ among themselves.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, fmean
from typing import Any

import numpy as np

from promptops.texts.numbers import whole_percent

CONFIDENCE = 0.95
RESAMPLES = 1000
"""Of the bootstrap: the ends of a 95% interval then rest on 25 resamples each (Efron and Tibshirani 1993, ch. 14)."""

MOST_MORE = 10_000
"""A preference that would need more inputs than that to be told from one half is called none."""

FEW_INPUTS = 60
"""Below this many inputs intervals are widened by Student's t; see `effective_inputs`."""

PRIOR = 0.5
"""Wins added both ways to each pair that met, as the Haldane-Anscombe correction adds one half to each cell of a table:
an arm that won or lost everything keeps a finite strength."""

Scores = Mapping[Any, Sequence[float]]
"""By input: for each vote 1.0 when it favors the first arm, 0.0 the second, 0.5 neither of them."""

Means = Sequence[float] | np.ndarray
"""Of the scores of each input that has a vote."""


@dataclass(frozen=True)
class Interval:
    """A share between 0 and 1 with the ends of its 95% interval.

    In words: "63% (50.3 to 73)". An end close to one half shows on which side of it it is.
    """

    share: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{whole_percent(self.share)} ({_end(self.low)} to {_end(self.high)})"

    @property
    def includes_half(self) -> bool:
        """Whether chance alone could explain it."""
        return self.low <= 0.5 <= self.high


def _end(share: float) -> str:
    away = abs(100 * share - 50)
    return f"{100 * share:.{0 if away == 0 or away >= 0.5 else 1 if away >= 0.05 else 3}f}"


@dataclass(frozen=True)
class Verdict:
    """The preference for the first arm, or how far the votes are from telling one.

    `winner` is "first", "second" or None; then `more` is about how many more inputs would do at this preference,
    None where that is beyond `MOST_MORE`.
    """

    preference: Interval
    inputs: int
    winner: str | None
    more: int | None


def share_of(scores: Scores) -> Interval:
    """The mean score with the Wilson interval for means of clusters; `Interval(0.5, 0, 1)` without votes.

    Every input has the same weight, however many votes it has. The interval is Wilson's score interval (1927) with the
    effective number of votes in place of the number (Korn and Graubard 1998; Dean and Pagano 2015). How often it holds
    the truth is measured in docs/decisions/0015-intervals-of-votes.md.
    """
    return share_of_means(*_means(scores))


def share_of_means(means: Means, votes: int) -> Interval:
    """`share_of` for the means of the inputs that have a vote, and how many votes these have together."""
    return wilson(fmean(means), effective_inputs(means, votes)) if len(means) else Interval(0.5, 0.0, 1.0)


def _means(scores: Scores) -> tuple[list[float], int]:
    voted = [votes for votes in scores.values() if votes]
    return [fmean(votes) for votes in voted], sum(map(len, voted))


def effective_inputs(means: Means, votes: int) -> float:
    """How many independent votes of 0 or 1 would tell as much as these means of inputs, which have `votes` together.

    The number at which a binomial share would vary as much as the inputs' means do, and no more than there are votes.
    How much the means of few inputs vary is itself uncertain, so below `FEW_INPUTS` it is lessened as Student's t is
    wider than the normal distribution.
    """
    count, share = len(means), fmean(means)
    if count < 2:
        return float(count)
    spread = float(np.var(means, ddof=1)) / count if np.ptp(means) > 0 else 0.0  # which the variance would round
    # Where all inputs agree nothing is known of how they differ: each counts as one vote.
    effective = min(votes, share * (1 - share) / spread) if spread > 0 and 0 < share < 1 else count
    if count >= FEW_INPUTS:
        return effective
    normal = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    return effective * (normal / student_t(count - 1)) ** 2


def wilson(share: float, count: float) -> Interval:
    """Wilson's score interval of a share seen in `count` independent votes (Wilson 1927)."""
    z2 = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) ** 2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = sqrt(z2 * (share * (1 - share) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def student_t(freedom: int) -> float:
    """The 97.5% point of Student's t, to 0.5% from 3 degrees of freedom (Abramowitz & Stegun 26.7.5)."""
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
    """Which arm is preferred, once the interval leaves one half out; until then about how many more inputs it takes.

    The number comes from the score test behind Wilson's interval: it leaves one half out when the effective number of
    inputs exceeds z^2 / (4 (share - 1/2)^2).
    """
    return verdict_of_means(*_means(scores))


def verdict_of_means(means: Means, votes: int) -> Verdict:
    """`verdict` for the means of the inputs that have a vote, and how many votes these have together."""
    found, inputs = share_of_means(means, votes), len(means)
    if inputs and not found.includes_half:
        return Verdict(found, inputs, "first" if found.share > 0.5 else "second", 0)
    distance = abs(found.share - 0.5)
    if not inputs or distance < 1e-9:
        return Verdict(found, inputs, None, None)
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    worth = effective_inputs(means, votes) / inputs  # votes that one input tells as much as
    needed = z**2 / (4 * distance**2) / worth
    more = max(1, round(needed - inputs + 0.5))
    return Verdict(found, inputs, None, more if more <= MOST_MORE else None)


@dataclass(frozen=True)
class Strength:
    """An arm's Bradley-Terry strength: its chance of winning against an arm of average strength, with its interval."""

    chance: Interval


Match = tuple[int, int, float]
"""Two arms and the share of the vote that the first of them got: 1, 0 or, for a tie or neither, 0.5."""


def strengths(matches: Mapping[Hashable, Sequence[Match]], arms: int, *, seed: int = 1) -> list[Strength]:
    """The Bradley-Terry strength of each of `arms` arms, numbered from 0, from the matches on each input.

    A tie, or neither, is half a win each. Every input has the same weight, however many votes it has. The intervals
    are the percentiles of `RESAMPLES` bootstrap resamples of the inputs; `seed` makes them repeatable.
    """
    return strengths_of_tables(np.array([_wins(votes, arms) for votes in matches.values() if votes]), arms, seed=seed)


def strengths_of_tables(tables: np.ndarray, arms: int, *, seed: int = 1) -> list[Strength]:
    """`strengths` from a table of each input: at [i, j] the share of its vote on the arms i and j that i got."""
    if not len(tables):
        return [Strength(Interval(0.5, 0.0, 1.0)) for _ in range(arms)]
    chances = _chances(bradley_terry(tables.sum(axis=0)))
    # How often each resample drew each input.
    random, count = np.random.default_rng(seed), len(tables)
    places = random.integers(count, size=(RESAMPLES, count)) + count * np.arange(RESAMPLES)[:, None]
    drawn = np.bincount(places.ravel(), minlength=RESAMPLES * count).reshape(RESAMPLES, count).astype(float)
    # Not a matrix product, whose threads would go on spinning on every core beside the pages.
    summed = np.einsum("ri,iab->rab", drawn, tables)
    resampled = _chances(bradley_terry(summed))
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return [Strength(Interval(float(chances[arm]), float(low[arm]), float(high[arm]))) for arm in range(arms)]


def bradley_terry(wins: np.ndarray, *, prior: float = PRIOR) -> np.ndarray:
    """The log-strengths, of mean 0, that make `wins[..., i, j]`, how often i won against j, most likely.

    By Hunter's minorization-maximization (2004, Annals of Statistics 32), until no strength moves by a millionth; of
    several tables at once. Arms that met nobody have strength 0.
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
    """One input's table of wins: every pair that met there shares out one vote."""
    table = np.zeros((arms, arms))
    for first, second, score in matches:
        table[first, second] += score
        table[second, first] += 1 - score
    games = table + table.T
    return np.divide(table, games, out=np.zeros_like(table), where=games > 0)


def _chances(log_strengths: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-log_strengths)))


def agreement(votes: Iterable[Sequence[Hashable]]) -> float | None:
    """Krippendorff's alpha for names: 1 when voters always agree, 0 when as often as chance would have it.

    `votes` holds, for each thing that was voted on, what its voters chose; missing votes are left out (Krippendorff,
    "Computing Krippendorff's Alpha-Reliability", 2011). None when nothing has two votes, or all votes are the same.
    """
    counts = [Counter(chosen) for chosen in votes]
    names = list({name: None for chosen in counts for name in chosen})
    return agreement_of_counts(np.array([[chosen[name] for name in names] for chosen in counts]))


def agreement_of_counts(counts: np.ndarray) -> float | None:
    """`agreement` from how often each name (column) was chosen for each thing that was voted on (row)."""
    voters = counts.sum(axis=-1)
    shared, voters = counts[voters > 1], voters[voters > 1]
    totals = shared.sum(axis=0)
    everything = int(totals.sum())
    expected = everything**2 - int((totals**2).sum())
    if not expected:
        return None
    observed = ((voters**2 - (shared**2).sum(axis=1)) / (voters - 1)).sum()
    return float(1 - (everything - 1) * observed / expected)
