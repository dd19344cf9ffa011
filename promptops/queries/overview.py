"""What the overview shows."""

from dataclasses import dataclass

from django.utils.safestring import SafeString

from promptops import audit
from promptops.engine.types import PromptOperation
from promptops.models import AuditEntry, Release, Template
from promptops.queries.providers import ProviderRow, chain
from promptops.queries.safety import SafetyState
from promptops.queries.safety import state as safety_state
from promptops.queries.templates import newest_release_of

CHANGES_SHOWN = 8
# Sign-ins, refusals and exports are in the audit; here is what changed.
NOT_CHANGES = [
    "user.signed_in",
    "user.signed_out",
    "user.sign_in_failed",
    "user.locked_out",
    "access.refused",
    "audit.exported",
]


@dataclass(frozen=True)
class OperationRow:
    """One operation with its default template and the release that put its version live (None: nothing live)."""

    operation: PromptOperation
    template: Template | None
    release: Release | None


@dataclass(frozen=True)
class Overview:
    """Everything on the page, read in a constant number of queries."""

    operations: list[OperationRow]
    providers: list[ProviderRow]
    changes: list[tuple[AuditEntry, SafeString]]
    safety: SafetyState


def overview() -> Overview:
    """Read it."""
    defaults = {
        template.operation: template
        for template in Template.objects.filter(is_default=True).select_related("live_version")
    }
    entries = AuditEntry.objects.exclude(action__in=NOT_CHANGES)[:CHANGES_SHOWN]
    live_releases = newest_release_of([template.live_version_id for template in defaults.values()])
    return Overview(
        operations=[_row(operation, defaults.get(operation.value), live_releases) for operation in PromptOperation],
        providers=chain(),
        changes=[(entry, audit.sentence_html(entry)) for entry in entries],
        safety=safety_state(),
    )


def _row(operation: PromptOperation, template: Template | None, releases: dict[int, Release]) -> OperationRow:
    release = releases.get(template.live_version_id) if template and template.live_version_id else None
    return OperationRow(operation, template, release)
