"""The models of prompts, for other modules to import from one place."""

from promptops.prompts.models.handover import ReleaseRequest, SharedDraft
from promptops.prompts.models.operations import Operation
from promptops.prompts.models.samples import Sample
from promptops.prompts.models.templates import DiscardedDraft, Draft, Presence, Template, Version
from promptops.prompts.models.variables import Variable

__all__ = [
    "DiscardedDraft",
    "Draft",
    "Operation",
    "Presence",
    "ReleaseRequest",
    "Sample",
    "SharedDraft",
    "Template",
    "Variable",
    "Version",
]
