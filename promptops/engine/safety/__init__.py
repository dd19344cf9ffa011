"""The safety filter: reading a text as people do, the operators' own terms, and a fastText model."""

from promptops.engine.safety.filter import PromptSafetyFilter, SafetyDecision, SafetyResult, first_blocked
from promptops.engine.safety.model import RETRY_SECONDS

__all__ = ["RETRY_SECONDS", "PromptSafetyFilter", "SafetyDecision", "SafetyResult", "first_blocked"]
