"""The models of `compare`."""

from promptops.compare.models.comparisons import Arm, Comparison, ComparisonInput, Trial, Vote
from promptops.compare.models.prompt_sets import PromptSet

__all__ = ["Arm", "Comparison", "ComparisonInput", "PromptSet", "Trial", "Vote"]
