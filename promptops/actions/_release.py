"""The part that every release has in common."""

from dataclasses import dataclass
from typing import Any

from django.db import models, transaction
from django.db.models import F

from promptops import audit, events, live
from promptops.actions.errors import ChecksFailed
from promptops.audit import Actor
from promptops.checks import failures, run_checks
from promptops.enums import SafetyTermKind
from promptops.models import (
    Comparison,
    LiveConfiguration,
    Provider,
    Release,
    SafetySettings,
    SafetyTerm,
    Template,
    Variable,
    Version,
)

# What a row knows beside what it says of the live configuration: secrets, counters, and its own place.
NOT_TOLD = {"id", "enabled", "position", "changed_revision", "terms_revision", "key_encrypted", "key_env"}
THRESHOLD_DIGITS = 6
"""Of the safety filter's thresholds: those of models have as many, so that a release can be made live again exactly."""
NOT_TOLD_OF_SETTINGS = {"id", "revision", "settings_revision", "key_check"}


@dataclass(frozen=True)
class Reason:
    """The comparison for which something is released, and what it said at that moment (`queries.evidence`)."""

    comparison: Comparison
    evidence: dict[str, Any]

    @property
    def told(self) -> dict[str, Any]:
        """For the audit, whose entries outlive everything else."""
        line = self.evidence.get("line", "")
        return {"comparison": self.comparison.pk, "comparison_name": self.comparison.name, "evidence": line}


def next_revision() -> int:
    """Raise the revision by one and return it.

    Call it first in the transaction: from here until commit no other release can run, so numbers have no gap and
    what is read afterwards stays true.
    """
    LiveConfiguration.objects.filter(pk=1).update(revision=F("revision") + 1)
    return LiveConfiguration.objects.values_list("revision", flat=True).get(pk=1)


def check_text(version: Version, operation: str) -> None:
    """Raise ChecksFailed when the version's text may not be live. Call it after `next_revision`, which holds the
    variables still."""
    if failed := failures(run_checks(version.body, live.values_of(operation))):
        raise ChecksFailed(failed)


def record_release(
    revision: int,
    action: str,
    *,
    by: Actor,
    object: models.Model | None = None,
    object_name: str = "",
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    note: str = "",
    template: Template | None = None,
    version: Version | None = None,
    replaced: Version | None = None,
    because: Reason | None = None,
) -> Release:
    """Keep what the revision changed, write the audit entry, and make it live in every process at commit.

    `because` links the comparison that is the reason, in the release and in the entry.

    Call it last, when everything is changed: what is live then is kept as what the revision stood for.
    """
    # Before any hint of this release. Robust: it is committed whatever happens here, and `live.follow` swaps again.
    transaction.on_commit(live.refresh, robust=True)
    release = Release.objects.create(
        revision=revision,
        action=action,
        user=by.user,
        user_name=by.name,
        note=note,
        template=template,
        version=version,
        replaced=replaced,
        configuration=configuration(),
        comparison=because.comparison if because else None,
        evidence=because.evidence if because else None,
    )
    audit.record(
        action,
        by=by,
        object=object,
        object_name=object_name,
        before=before,
        after={**(after or {}), **because.told} if because else after,
        note=note,
        revision=revision,
    )
    events.broadcast_on_commit(events.REVISION_RELEASED, revision)
    return release


def configuration() -> dict[str, Any]:
    """What is live now, as a release keeps it: versions by number, chain in order, variables, settings. No secrets."""
    templates = Template.objects.filter(live_version__isnull=False, archived_at=None)
    return {
        "templates": [
            {"name": name, "operation": operation, "default": default, "version": number, "version_id": version_id}
            for name, operation, default, number, version_id in templates.values_list(
                "name", "operation", "is_default", "live_version__number", "live_version_id"
            )
        ],
        "providers": [
            {**_fields(provider, NOT_TOLD), "key": provider.key_state}
            for provider in Provider.objects.filter(enabled=True)
        ],
        "variables": list(Variable.objects.values("operation", "name", "value")),
        "settings": _fields(LiveConfiguration.objects.get(pk=1), NOT_TOLD_OF_SETTINGS),
        "safety": safety_told(),
    }


def safety_told() -> dict[str, Any]:
    """What is set for the safety filter, as releases and the audit tell it: short values, terms one a line."""
    config = SafetySettings.objects.select_related("model").defer("model__data").get(pk=1)
    terms = list(SafetyTerm.objects.all())
    thresholds = {**config.model.manifest.get("thresholds", {}), **config.thresholds}
    return {
        "mode": config.mode,
        "when_down": config.when_down,
        "when_language": config.when_language,
        "model": config.model.number,
        **{f"{name}_from": round(float(value), THRESHOLD_DIGITS) for name, value in sorted(thresholds.items())},
        **{f"{kind}_terms": "\n".join(str(term) for term in terms if term.kind == kind) for kind in SafetyTermKind},
    }


def _fields(row: models.Model, but: set[str]) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in row._meta.concrete_fields if field.name not in but}
