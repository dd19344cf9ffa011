"""The models of all features, for Django and migrations. All other code imports them from their feature."""

from promptops.alerts.models import Alert, AlertRules, Delivery, Destination, EventCursor
from promptops.api.models import IdempotentAnswer
from promptops.compare.models import Arm, Comparison, ComparisonInput, PromptSet, Trial, Vote
from promptops.fleet.models import Acknowledgement, Lever, Server
from promptops.ledger.models import AuditEntry, AuditHead, ExportTally, LiveConfiguration, Release
from promptops.people.models import Identity, OneTimeLink, RecoveryCode, SecondStep, Token, User, UserSession
from promptops.platform.models import Lease
from promptops.prompts.models import (
    DiscardedDraft,
    Draft,
    Operation,
    Presence,
    ReleaseRequest,
    Sample,
    SharedDraft,
    Template,
    Variable,
    Version,
)
from promptops.providers.models import LearnedAdaptation, Provider
from promptops.runs.models import Attempt, Run, RunExpiry, RunTotals, SafetyCheck
from promptops.safety.models import SafetyExample, SafetyModelVersion, SafetySettings, SafetyTerm, SafetyTraining

__all__ = [
    "Acknowledgement",
    "Alert",
    "AlertRules",
    "Arm",
    "Attempt",
    "AuditEntry",
    "AuditHead",
    "Comparison",
    "ComparisonInput",
    "Delivery",
    "Destination",
    "DiscardedDraft",
    "Draft",
    "EventCursor",
    "ExportTally",
    "IdempotentAnswer",
    "Identity",
    "LearnedAdaptation",
    "Lease",
    "Lever",
    "LiveConfiguration",
    "OneTimeLink",
    "Operation",
    "Presence",
    "PromptSet",
    "Provider",
    "RecoveryCode",
    "Release",
    "ReleaseRequest",
    "Run",
    "RunExpiry",
    "RunTotals",
    "SafetyCheck",
    "SafetyExample",
    "SafetyModelVersion",
    "SafetySettings",
    "SafetyTerm",
    "SafetyTraining",
    "Sample",
    "SecondStep",
    "Server",
    "SharedDraft",
    "Template",
    "Token",
    "Trial",
    "User",
    "UserSession",
    "Variable",
    "Version",
    "Vote",
]
