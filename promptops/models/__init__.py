"""Data and its constraints. Changes go through `promptops.actions`, reads through `promptops.queries`."""

from promptops.models.audit import AuditEntry, AuditHead
from promptops.models.comparisons import Arm, Comparison, ComparisonInput, Trial, Vote
from promptops.models.live import LiveConfiguration, Release
from promptops.models.prompt_sets import PromptSet
from promptops.models.providers import Provider
from promptops.models.runs import Attempt, Run
from promptops.models.templates import Draft, Template, Version
from promptops.models.users import OneTimeLink, User

__all__ = [
    "Arm",
    "Attempt",
    "AuditEntry",
    "AuditHead",
    "Comparison",
    "ComparisonInput",
    "Draft",
    "LiveConfiguration",
    "OneTimeLink",
    "PromptSet",
    "Provider",
    "Release",
    "Run",
    "Template",
    "Trial",
    "User",
    "Version",
    "Vote",
]
