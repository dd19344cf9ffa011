"""Data and its constraints. Changes go through `promptops.actions`, reads through `promptops.queries`."""

from promptops.compare.models.comparisons import Arm, Comparison, ComparisonInput, Trial, Vote
from promptops.compare.models.prompt_sets import PromptSet
from promptops.ledger.models.audit import AuditEntry, AuditHead, ExportTally
from promptops.ledger.models.releases import LiveConfiguration, Release
from promptops.people.models import OneTimeLink, User, UserSession
from promptops.prompts.models.samples import Sample
from promptops.prompts.models.templates import DiscardedDraft, Draft, Presence, Template, Version
from promptops.prompts.models.variables import Variable
from promptops.providers.models import LearnedAdaptation, Provider
from promptops.runs.models import Attempt, Run
from promptops.safety.models import (
    SafetyCheck,
    SafetyExample,
    SafetyModelVersion,
    SafetySettings,
    SafetyTerm,
    SafetyTraining,
)

__all__ = [
    "Arm",
    "Attempt",
    "AuditEntry",
    "AuditHead",
    "Comparison",
    "ComparisonInput",
    "DiscardedDraft",
    "Draft",
    "ExportTally",
    "LearnedAdaptation",
    "LiveConfiguration",
    "OneTimeLink",
    "Presence",
    "PromptSet",
    "Provider",
    "Release",
    "Run",
    "SafetyCheck",
    "SafetyExample",
    "SafetyModelVersion",
    "SafetySettings",
    "SafetyTerm",
    "SafetyTraining",
    "Sample",
    "Template",
    "Trial",
    "User",
    "UserSession",
    "Variable",
    "Version",
    "Vote",
]
