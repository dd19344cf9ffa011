"""The settings of the whole installation, and the change of its secret key."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.db import transaction

from promptops.alerts.actions import destinations
from promptops.ledger import parts, registry
from promptops.ledger.audit import SYSTEM, Actor
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import LiveConfiguration
from promptops.ledger.parts import Restoration
from promptops.ledger.registry import Action
from promptops.ledger.releases import next_revision, record_release
from promptops.people.actions import second_step
from promptops.platform import crypto
from promptops.providers.models import Provider
from promptops.site.live_part import RELEASED

registry.noun("settings", "Settings")
registry.noun("secret_key", "Secret key")
registry.value_labels(
    {
        "timeout_ms": "Time limit",
        "run_retention_days": "Keep the text of runs (days)",
        "run_deletion_days": "Delete runs after (days)",
    }
)
registry.register(
    Action(
        "settings.changed",
        "{actor} changed the settings",
        when="time limit, default temperature or tokens, retention or deletion changed",
    ),
    Action(
        "secret_key.replaced",
        "{actor} replaced the secret key (stored keys and webhook secrets dropped: {after[keys_lost]})",
        when="a new secret key was accepted after the old one was lost",
        passes_freeze=True,  # without it the server does not start
    ),
)

KEY_CHECK = "promptops"
KEEPING = {"run_retention_days", "run_deletion_days"}
"""The settings that decide what is deleted."""


@dataclass(frozen=True)
class Settings:
    """The settings that an administrator changes.

    Texts of runs are kept for `run_retention_days`, runs for `run_deletion_days` (None: forever).
    """

    timeout_ms: int
    temperature: float
    max_tokens: int
    run_retention_days: int
    run_deletion_days: int | None = None


@transaction.atomic
def change_settings(settings: Settings, *, by: Actor, expected: int, note: str = "") -> LiveConfiguration:
    """Change the settings. `expected` is the `settings_revision` that the form was filled from (else Stale)."""
    revision = next_revision()
    config = LiveConfiguration.objects.get(pk=1)
    if config.settings_revision != expected:
        raise Stale("Someone changed the settings. Reload the page to see the changes, then make yours.")
    wanted = asdict(settings)
    before = {name: getattr(config, name) for name in wanted}
    if before == wanted:
        raise Refused("No changes to save.")
    for name, value in wanted.items():
        setattr(config, name, value)
    config.settings_revision = revision
    config.full_clean()
    config.save()
    record_release(revision, "settings.changed", by=by, object_name="settings", before=before, after=wanted, note=note)
    return config


@parts.restores("settings")
def plan_settings(values: Mapping[str, Any]) -> Restoration:
    """Set what runs use to the settings that an earlier release stored.

    How long runs are kept stays as it is, because a shorter time deletes runs for good.
    """
    config = LiveConfiguration.objects.get(pk=1)
    changed = {name for name in RELEASED if name in values and getattr(config, name) != values[name]}
    for name in changed - KEEPING:
        setattr(config, name, values[name])
    if changed - KEEPING:
        config.full_clean(validate_constraints=False)  # Django checks them in a transaction, which locks SQLite

    def save(revision: int) -> None:
        if changed - KEEPING:
            config.settings_revision = revision
            config.save(update_fields=[*changed - KEEPING, "settings_revision"])

    stays = ["How long runs are kept stays as it is. Change it on the Settings page."] if changed & KEEPING else []
    return Restoration(parts.columns(config, RELEASED), stays, save)


def secret_key_fits() -> bool:
    """Return whether this database was made with the current secret key. A new database takes the current one."""
    config = LiveConfiguration.objects.get(pk=1)
    if not config.key_check:
        LiveConfiguration.objects.filter(pk=1, key_check="").update(key_check=crypto.encrypt(KEY_CHECK))
        return True
    try:
        return crypto.decrypt(config.key_check) == KEY_CHECK
    except crypto.UnreadableSecret:
        return False


@transaction.atomic
def replace_secret_key(*, by: Actor = SYSTEM) -> int:
    """Accept the current secret key; encrypt provider keys and the secrets of webhooks and second steps with it.

    Drop those that neither it nor a fallback can decrypt, and return how many keys and webhooks, to be entered again.
    People whose second step is lost sign in with a recovery code, or an administrator turns it off.
    """
    revision = next_revision()
    lost = 0
    for provider in Provider.objects.exclude(key_encrypted=""):
        try:
            provider.key_encrypted = crypto.renew(provider.key_encrypted)
        except crypto.UnreadableSecret:
            provider.key_encrypted = ""
            provider.changed_revision = revision
            lost += 1
        provider.save(update_fields=["key_encrypted", "changed_revision"])
    lost += destinations.renew_secrets()
    LiveConfiguration.objects.filter(pk=1).update(key_check=crypto.encrypt(KEY_CHECK))
    after = {"keys_lost": lost, "second_steps_lost": second_step.renew_secrets()}
    record_release(revision, "secret_key.replaced", by=by, object_name="the secret key", after=after)
    return lost
