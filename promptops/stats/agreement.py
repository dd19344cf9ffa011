"""Agreement of two people who sorted the same texts into two kinds."""

from dataclasses import dataclass

from promptops.stats.preference import wilson

FEWEST = 30
"""Texts that an interval needs. With fewer it would be so wide that it says nothing."""


@dataclass(frozen=True)
class Kappa:
    """Cohen's kappa with its 95% interval: 1 is full agreement, 0 that of chance, and less is below chance."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    """The readings of two people: `both` and `neither` count texts that both read as one kind, the others differ."""

    both: int
    only_first: int
    only_second: int
    neither: int

    @property
    def texts(self) -> int:
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def agreed(self) -> int:
        return self.both + self.neither

    @property
    def fewest(self) -> int:
        return FEWEST

    @property
    def is_too_few(self) -> bool:
        return self.texts < FEWEST

    @property
    def kappa(self) -> Kappa | None:
        """Return Cohen's kappa, (p_o - p_e) / (1 - p_e), with a 95% interval; None if there are too few texts.

        p_o is the share of texts on which both agree. p_e is the share expected by chance, from how often each person
        chose each kind. The interval is Wilson's of p_o at this p_e. It is None, too, if both people chose one kind
        only: then nothing separates agreement from chance. Sources: Cohen 1960, "A coefficient of agreement for nominal
        scales", whose standard error also takes p_e as known; Wilson 1927 for p_o, so that full agreement has a width.
        """
        count = self.texts
        if self.is_too_few:
            return None
        first, second = (self.both + self.only_first) / count, (self.both + self.only_second) / count
        expected = first * second + (1 - first) * (1 - second)
        if expected == 1:
            return None
        observed = wilson(self.agreed / count, count)
        shares = (observed.share, observed.low, observed.high)
        return Kappa(*((share - expected) / (1 - expected) for share in shares))
