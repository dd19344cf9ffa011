"""A repeat of a comparison with more inputs, where its own votes cannot name a winner."""

from dataclasses import dataclass
from math import ceil

from promptops.compare.actions.prompt_sets import MAX_INPUTS
from promptops.compare.models import PromptSet
from promptops.compare.queries.comparisons import prompt_sets
from promptops.compare.queries.verdicts import Verdicts
from promptops.stats.preference import votes_to_decide

ASSUMED_SHARE = 0.6
"""The preference that a repeat should be able to show if the votes so far are even: three to two."""


@dataclass(frozen=True)
class Larger:
    """The size of a repeat that is expected to name a winner.

    `inputs` is the number at which a preference of `share`, with the present share of ties, begins to exclude one half.
    `is_assumed` says that the votes are even, so that `share` is `ASSUMED_SHARE`. `prompt_set` is the smallest set that
    has so many inputs, None if there is none; `largest` is the number of inputs of the largest set.
    """

    inputs: int
    share: float
    is_assumed: bool
    prompt_set: PromptSet | None
    largest: int


def larger(verdicts: Verdicts) -> Larger | None:
    """Return the repeat to offer, in one query; None if the votes can still decide, or no set could be large enough."""
    sets = sorted(prompt_sets(), key=lambda each: each.input_count)
    pair = verdicts.open_pair
    if pair is None or pair.is_even:
        return None
    wanted, share, is_assumed = pair.inputs + (pair.more or 0), pair.preference.share, False
    if not pair.more:
        wanted, share, is_assumed = ceil(votes_to_decide(ASSUMED_SHARE)), ASSUMED_SHARE, True
    if wanted > MAX_INPUTS or wanted <= pair.inputs + pair.left:
        return None
    prompt_set = next((each for each in sets if each.input_count >= wanted), None)
    return Larger(wanted, share, is_assumed, prompt_set, sets[-1].input_count if sets else 0)
