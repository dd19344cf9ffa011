"""The data of the overview. Its figures over time belong to `promptops.runs`."""

from dataclasses import dataclass

from django.utils.safestring import SafeString

from promptops.alerts.models import Destination
from promptops.alerts.queries import troubles as alert_troubles
from promptops.engine.operations import OperationSpec
from promptops.fleet.now import Losses, losses
from promptops.fleet.queries.servers import ServerRow, picture
from promptops.ledger import registry, sentences
from promptops.ledger.models import AuditEntry, Release
from promptops.prompts.models import Template
from promptops.prompts.queries import operations
from promptops.prompts.queries.templates import newest_release_of
from promptops.runs.queries.providers import ProviderRow, chain
from promptops.safety.queries.filter_state import SafetyState
from promptops.safety.queries.filter_state import state as safety_state

CHANGES_SHOWN = 8


@dataclass(frozen=True)
class OperationRow:
    """One operation with its default template and the release that put its version live (None: nothing live).

    `has_built_in_text` means that the engine has a text for it. Without one, nothing answers until a version is live.
    """

    operation: str
    has_built_in_text: bool
    template: Template | None
    release: Release | None


@dataclass(frozen=True)
class Overview:
    """Everything on the page, read in a constant number of queries."""

    operations: list[OperationRow]
    providers: list[ProviderRow]
    alarms: list["Alarm"]
    changes: list[tuple[AuditEntry, SafeString]]
    safety: SafetyState
    fleet_troubles: list[ServerRow]
    losses: Losses
    alert_troubles: list[Destination]


ALARMS = {
    "quota": "{} is out of credit",
    "auth": "The key of {} was refused",
    "missing_key": "{} has no key",
    "not_found": "{} does not know its model",
}
"""Sentences about a provider that needs a person, by the kind of error."""


@dataclass(frozen=True)
class Alarm:
    """A provider that needs a person: it is out of credit or misconfigured. `effect` is what runs do until then."""

    provider: ProviderRow
    what: str
    effect: str


def alarms(providers: list[ProviderRow]) -> list[Alarm]:
    """Return an alarm for each provider of the chain whose account, key or model needs a person."""
    return [
        Alarm(
            row,
            ALARMS.get(row.health.trouble or "", "{} is misconfigured").format(row.name),
            _effect(row, providers),
        )
        for row in providers
        if row.health.misconfigured
    ]


def _effect(row: ProviderRow, providers: list[ProviderRow]) -> str:
    able = [other for other in providers if other.tone != "bad"]
    if not able:
        return "no other provider can answer: runs fail"
    if row.stops_runs and row.priority is not None and (able[0].priority or 0) > row.priority:
        return "it does not fall back: runs fail"
    return f"runs use {able[0].name}"


def overview() -> Overview:
    """Return everything on the overview."""
    defaults = {
        template.operation: template
        for template in Template.objects.filter(is_default=True).select_related("live_version")
    }
    entries = AuditEntry.objects.exclude(action__in=registry.names(lambda action: not action.is_change))[:CHANGES_SHOWN]
    providers = chain()
    live_releases = newest_release_of([template.live_version_id for template in defaults.values()])
    return Overview(
        operations=[_row(spec, defaults.get(spec.name), live_releases) for spec in operations.live_operations()],
        providers=providers,
        alarms=alarms(providers),
        changes=[(entry, sentences.sentence_html(entry)) for entry in entries],
        safety=safety_state(),
        fleet_troubles=picture().troubles,
        losses=losses(),
        alert_troubles=alert_troubles(),
    )


def _row(spec: OperationSpec, template: Template | None, releases: dict[int, Release]) -> OperationRow:
    release = releases.get(template.live_version_id) if template and template.live_version_id else None
    return OperationRow(spec.name, bool(spec.default_text), template, release)
