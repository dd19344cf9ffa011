"""The data of the overview. Its figures over time belong to `promptops.runs`."""

from dataclasses import dataclass

from promptops.alerts.models import Destination
from promptops.alerts.queries import troubles as alert_troubles
from promptops.engine.operations import OperationSpec
from promptops.fleet.now import Losses, losses
from promptops.fleet.queries.servers import Counts, ServerRow, picture
from promptops.history.queries import timeline
from promptops.history.queries.timeline import ReleaseRow
from promptops.ledger.models import Release
from promptops.prompts.models import Template
from promptops.prompts.queries import operations
from promptops.prompts.queries.handover import Waiting, waiting
from promptops.prompts.queries.releases import newest_release_of
from promptops.runs.enums import SafetyMode
from promptops.runs.queries.figures import DEFAULT_HOURS, Figures, OperationFigures, Rate, figures
from promptops.runs.queries.providers import ProviderRow, chain
from promptops.safety.queries.filter_state import SafetyState
from promptops.safety.queries.filter_state import state as safety_state
from promptops.stats import charts
from promptops.texts.formats import number

RELEASES_SHOWN = 5
TROUBLES_SHOWN = 4
FAILING, ERRORS = 0.2, 0.02
"""From these shares of errors on an operation is failing, or has errors, if at least so many runs failed:"""
FAILED_RUNS = 3


@dataclass(frozen=True)
class OperationRow:
    """One operation with its default template and the release that put its version live (None: nothing live).

    `has_built_in_text` means that the engine has a text for it. Without one, nothing answers until a version is live.
    `figures` are those of the last 24 hours.
    """

    operation: str
    has_built_in_text: bool
    template: Template | None
    release: Release | None
    figures: OperationFigures | None

    @property
    def is_live(self) -> bool:
        """Return whether a version of the default template is live."""
        return bool(self.template and self.template.live_version_id)

    @property
    def state(self) -> tuple[str, str]:
        """Return the state in one or two words, and its tone: ok, warn, bad or ""."""
        if not self.is_live and not self.has_built_in_text:
            return "nothing answers", "bad"
        lately = self.figures.lately if self.figures else Rate(0, 0)
        share = lately.share or 0
        if share >= FAILING and lately.part >= FAILED_RUNS:
            return "failing", "bad"
        if not self.is_live:
            return "nothing live", "warn"
        if share >= ERRORS:
            return "errors", "warn"
        return ("healthy", "ok") if self.figures and self.figures.total.runs else ("no runs", "")

    @property
    def spark(self) -> charts.Line | None:
        """Return the p95 of each hour as a small line; None without answers."""
        steps = self.figures.steps if self.figures else []
        return charts.sparkline([tally.p95 for _, tally in steps])


@dataclass(frozen=True)
class Overview:
    """Everything on the page but the figures over time, read in a constant number of queries."""

    operations: list[OperationRow]
    providers: list[ProviderRow]
    alarms: list["Alarm"]
    releases: list[ReleaseRow]
    safety: SafetyState
    fleet: Counts
    fleet_troubles: list[ServerRow]
    losses: Losses
    alert_troubles: list[Destination]
    requests: Waiting

    @property
    def ready_providers(self) -> int:
        """Return how many providers are fine, as far as is known: one that had no call yet counts."""
        return sum(row.tone in ("ok", "") for row in self.providers)

    @property
    def ready_words(self) -> str:
        return f"{number(self.ready_providers)} of {number(len(self.providers))} ready"

    @property
    def chain_tone(self) -> str:
        """Return the tone of the whole chain: bad if no provider can answer."""
        if all(row.tone == "bad" for row in self.providers):
            return "bad"
        return "ok" if self.ready_providers == len(self.providers) else "warn"

    @property
    def troubles(self) -> list[tuple[str, str]]:
        """Return all that is not well, as pairs of a thing and its state."""
        troubles = [(row.operation, row.state[0]) for row in self.operations if row.state[1] in ("bad", "warn")]
        troubles += [(row.name, row.state) for row in self.providers if row.tone in ("bad", "warn")]
        if not self.providers:
            troubles.append(("Providers", "none on"))
        if self.safety.problems or self.safety.mode == SafetyMode.OFF:
            troubles.append(("Safety", "failing" if self.safety.problems else "off"))
        troubles += [(row.server.name, row.standing.label.lower()) for row in self.fleet_troubles]
        if self.losses.is_redis_lost:
            troubles.append(("Redis", "lost"))
        troubles += [(f"Alerts to {each.name}", "failing" if each.enabled else "off") for each in self.alert_troubles]
        return troubles

    @property
    def more_troubles(self) -> int:
        """Return how many troubles the line at the top has no room for."""
        return max(0, len(self.troubles) - TROUBLES_SHOWN)

    @property
    def tone(self) -> str:
        """Return the tone of the line at the top."""
        if not self.troubles:
            return "ok"
        is_bad = self.alarms or self.fleet_troubles or self.chain_tone == "bad"
        is_bad = is_bad or any(alert.level == "bad" for alert in self.safety.alerts)
        return "bad" if is_bad or any(row.state[1] == "bad" for row in self.operations) else "warn"


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


def overview(day: Figures | None = None) -> Overview:
    """Return everything on the overview. `day` are the figures of the last 24 hours, if they are read already."""
    defaults = {
        template.operation: template
        for template in Template.objects.filter(is_default=True).select_related("live_version")
    }
    providers = chain()
    fleet = picture()
    releases = newest_release_of([template.live_version_id for template in defaults.values()])
    of_operation = {row.operation: row for row in (day or figures(DEFAULT_HOURS)).operations}
    return Overview(
        operations=[
            _row(spec, defaults.get(spec.name), releases, of_operation.get(spec.name))
            for spec in operations.live_operations()
        ],
        providers=providers,
        alarms=alarms(providers),
        releases=timeline.release_rows(timeline.listed()[:RELEASES_SHOWN]),
        safety=safety_state(),
        fleet=fleet.counts,
        fleet_troubles=fleet.troubles,
        losses=losses(),
        alert_troubles=alert_troubles(),
        requests=waiting(),
    )


def _row(
    spec: OperationSpec, template: Template | None, releases: dict[int, Release], day: OperationFigures | None
) -> OperationRow:
    release = releases.get(template.live_version_id) if template and template.live_version_id else None
    return OperationRow(spec.name, bool(spec.default_text), template, release, day)
