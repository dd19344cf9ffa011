"""The releases that each arm of a comparison offers, and the reasons why one is not possible.

The releases themselves are made in `views.arms`.
"""

from dataclasses import dataclass

from promptops.compare.models import Arm, Comparison
from promptops.engine.snapshot import SettingsSpec
from promptops.live import snapshots as live
from promptops.prompts.content import effective
from promptops.prompts.models import Version
from promptops.providers.models import Provider


@dataclass(frozen=True)
class Step:
    """A button: its label, and the reason why it is disabled ("" if it is enabled)."""

    label: str
    why_not: str = ""


@dataclass(frozen=True)
class Offer:
    """One arm with its two steps. `version` is the version to make live, None if publishing creates a new version."""

    arm: Arm
    publish: Step
    first: Step
    version: Version | None


def offers(comparison: Comparison) -> list[Offer]:
    """Return the steps of each arm as of now, in two queries."""
    arms = comparison.arms.select_related("template__live_version", "version", "provider")
    settings = live.current().settings_for(comparison.operation)
    chain = list(Provider.objects.filter(enabled=True))
    return [_offer(arm, settings, chain) for arm in arms]


def _offer(arm: Arm, settings: SettingsSpec, chain: list[Provider]) -> Offer:
    live = arm.template.live_version
    version = arm.version if arm.version and _is_same(arm.version, arm, settings) else None
    label = (
        f"Make v{version.number} of {arm.template.name} live" if version else f"Publish the text of arm {arm.letter}"
    )
    why_not = ""
    if arm.template.archived_at:
        why_not = f"{arm.template.name} is archived. Restore it first."
    elif live and (live.pk == (version.pk if version else 0) or _is_same(live, arm, settings)):
        why_not = f"This text is already live as v{live.number}."
    return Offer(arm, Step(label, why_not), Step(f"Make {arm.provider_name} first", _not_first(arm, chain)), version)


def _is_same(version: Version, arm: Arm, settings: SettingsSpec) -> bool:
    """Return whether the version has the text and the effective settings of the arm."""
    return {"body": version.body, **effective(version, settings)} == vars(arm.content)


def _not_first(arm: Arm, chain: list[Provider]) -> str:
    provider = arm.provider
    if provider is None:
        return f"{arm.provider_name} was removed."
    compared = (arm.provider_kind, arm.provider_url, arm.provider_model)
    if (provider.kind, provider.base_url, provider.model) != compared:
        return f"{provider.name} was changed: its kind, address or model is no longer the one that was compared."
    if not provider.enabled:
        return f"{provider.name} is off. Turn it on first."
    if chain and chain[0].pk == provider.pk:
        return f"{provider.name} is already first in the chain."
    return ""
