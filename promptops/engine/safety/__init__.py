"""The safety filter: normalizing a text, the operators' own terms, and a classifier (by default a fastText model).

guard.py is the filter that the product uses, filter.py the small one of the engine's public contract.
"""

from promptops.engine.safety.filter import PromptSafetyFilter, SafetyDecision, SafetyResult, first_blocked
from promptops.engine.safety.model import RETRY_SECONDS

__all__ = ["RETRY_SECONDS", "PromptSafetyFilter", "SafetyDecision", "SafetyResult", "first_blocked"]
