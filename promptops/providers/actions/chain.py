"""Changes of providers and of the chain. Each one is a release, except the end of a cooldown.

A test call is a run and changes nothing; it belongs to `promptops.runs`.
"""

import math
from copy import copy
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max

from promptops.engine.addresses import refusal_of_url
from promptops.engine.providers.adaptations import ADAPTATIONS
from promptops.engine.providers.addresses import base_address
from promptops.ledger import audit, parts, registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.registry import Action
from promptops.ledger.releases import Reason, next_revision, record_release
from promptops.platform import crypto
from promptops.providers import following
from promptops.providers.key_variables import problem_of
from promptops.providers.live_part import RELEASED
from promptops.providers.models import Provider

registry.noun("provider", "Providers")
registry.object_kind("provider", "Provider")
registry.value_labels(
    {
        "base_url": "Base URL",
        "fall_back_on_auth": "Fall back if the key is refused",
        "fall_back_on_not_found": "Fall back if the model is not found",
        "fall_back_on_refused": "Fall back if the model declines",
        "json_mode": "JSON answers",
        "price_cached": "Price of cached input",
        "price_input": "Price of input",
        "price_output": "Price of output",
    }
)
registry.register(
    Action("provider.created", "{actor} added the provider {object}", when="a provider was added", object="provider"),
    Action(
        "provider.edited",
        "{actor} changed the provider {object}",
        when="name, kind, model, address, limits, prices, fallback, JSON answers or adaptations of a provider changed",
        object="provider",
    ),
    Action(
        "provider.key_changed",
        "{actor} changed where the key of {object} comes from",
        when="the key of a provider, or where the key comes from, changed",
        object="provider",
    ),
    Action(
        "provider.enabled",
        "{actor} turned {object} on",
        when="a provider was turned on",
        object="provider",
        passes_freeze=True,
    ),
    Action(
        "provider.disabled",
        "{actor} turned {object} off",
        when="a provider was turned off",
        object="provider",
        passes_freeze=True,
    ),
    Action(
        "provider.removed", "{actor} removed the provider {object}", when="a provider was removed", object="provider"
    ),
    Action("provider.reordered", "{actor} changed the provider order", when="the order of the providers changed"),
    Action(
        "provider.cooldown_ended",
        "{actor} ended the cooldown of {object}",
        when="somebody ended the cooldown of a provider by hand",
        object="provider",
    ),
)

PRICES = ("price_input", "price_cached", "price_output")
# The embedded model does not use these: it costs nothing, always has its model and accepts one form of request.
NOT_EMBEDDED = ("context_tokens", *PRICES, "fall_back_on_not_found", "adaptations")


@dataclass(frozen=True)
class ProviderFields:
    """The fields of a provider's form, without its key. Prices are in USD per million tokens.

    The defaults are those of a new provider: it falls back on an error that another provider may not have.
    """

    name: str
    kind: str
    model: str = ""
    base_url: str = ""
    timeout_ms: int | None = None
    max_concurrent: int | None = None
    context_tokens: int | None = None
    price_input: float | None = None
    price_cached: float | None = None
    price_output: float | None = None
    first_text_ms: int | None = None
    stall_ms: int | None = None
    fall_back_on_auth: bool = True
    fall_back_on_not_found: bool = False
    fall_back_on_refused: bool = True
    adaptations: tuple[str, ...] = ()
    json_mode: str = ""


def planned(fields: ProviderFields, *, key: str = "", key_env: str = "", is_named: bool = True) -> Provider:
    """Return the provider that `create_provider` would save, unsaved. Raises ValidationError for invalid fields.

    A provider that is only asked for its models may have any name (`is_named`).
    """
    provider = Provider(position=0)
    _fill(provider, fields)
    _set_key(provider, key=key, key_env=key_env)
    _check(provider, but="" if is_named else "name")
    return provider


def edited(provider: Provider, fields: ProviderFields) -> Provider:
    """Return the provider as `edit_provider` would save it, unsaved. Raises ValidationError for invalid fields.

    A key is only sent to the server that it was entered for: another host, or another vendor, drops the stored key
    and the name of the variable. The embedded model has no key.
    """
    after = copy(provider)
    _fill(after, fields)
    if after.kind_spec.embedded or _server(after) != _server(provider):
        after.key_encrypted = after.key_env = ""
    _check(after)
    return after


def with_key(provider: Provider, *, key: str = "", key_env: str = "") -> Provider:
    """Return the provider as `change_key` would save it, unsaved. Raises ValidationError for an invalid key."""
    after = copy(provider)
    _set_key(after, key=key, key_env=key_env)
    _check(after)
    return after


@transaction.atomic
def create_provider(
    fields: ProviderFields, *, by: Actor, key: str = "", key_env: str = "", note: str = "", enabled: bool = True
) -> Provider:
    """Add a provider at the end of the chain. Raises ValidationError for invalid fields."""
    revision = next_revision()
    provider = planned(fields, key=key, key_env=key_env)
    provider.enabled = enabled
    provider.position = (Provider.objects.aggregate(last=Max("position"))["last"] or 0) + 1
    provider.changed_revision = revision
    provider.save()
    record_release(revision, "provider.created", by=by, object=provider, after=_audit_values(provider), note=note)
    return provider


@transaction.atomic
def edit_provider(provider: Provider, fields: ProviderFields, *, by: Actor, expected: int, note: str = "") -> Provider:
    """Change a provider's fields; `edited` says what becomes of its key.

    `expected` is the `changed_revision` that the form was filled from. Raises Stale if another one is current.
    """
    revision = next_revision()
    provider = _current(provider, expected)
    before, learned_at = _audit_values(provider), (following.server(provider), provider.model)
    provider = edited(provider, fields)
    if _audit_values(provider) == before:
        raise Refused(f"No changes to save for {provider.name}.")
    provider.changed_revision = revision
    provider.save()
    if (following.server(provider), provider.model) != learned_at:
        provider.learned.all().delete()  # they were learned from another server
    record_release(
        revision, "provider.edited", by=by, object=provider, before=before, after=_audit_values(provider), note=note
    )
    return provider


@transaction.atomic
def change_key(
    provider: Provider, *, by: Actor, expected: int, key: str = "", key_env: str = "", note: str = ""
) -> Provider:
    """Store a key (encrypted), or name the environment variable that holds it. With neither, there is no key."""
    revision = next_revision()
    provider = _current(provider, expected)
    before = {"key": provider.key_state}
    provider = with_key(provider, key=key, key_env=key_env)
    if not key and provider.key_state == before["key"]:
        raise Refused(f"No changes to save: the key of {provider.name} has this source already.")
    provider.changed_revision = revision
    provider.save()
    after = {"key": f"{provider.key_state}, changed" if key else provider.key_state}
    record_release(revision, "provider.key_changed", by=by, object=provider, before=before, after=after, note=note)
    return provider


@transaction.atomic
def set_enabled(provider: Provider, enabled: bool, *, by: Actor, note: str = "") -> Provider:
    """Turn a provider on or off. The chain has only the providers that are on."""
    revision = next_revision()
    word = "on" if enabled else "off"
    changed = Provider.objects.filter(pk=provider.pk, enabled=not enabled).update(
        enabled=enabled, changed_revision=revision
    )
    if not changed:
        exists = Provider.objects.filter(pk=provider.pk).exists()
        raise Stale(f"{provider.name} is already {word}." if exists else _removed_meanwhile(provider))
    provider.refresh_from_db()
    record_release(
        revision,
        "provider.enabled" if enabled else "provider.disabled",
        by=by,
        object=provider,
        before={"enabled": not enabled},
        after={"enabled": enabled},
        note=note,
    )
    return provider


@transaction.atomic
def remove_provider(provider: Provider, *, by: Actor, expected: int, note: str = "") -> None:
    """Remove a provider that is off, and its key. Runs keep its name."""
    revision = next_revision()
    provider = _current(provider, expected)
    if provider.enabled:
        raise Refused(f"{provider.name} is on. Turn it off first.")
    record_release(revision, "provider.removed", by=by, object=provider, before=_audit_values(provider), note=note)
    provider.delete()


@transaction.atomic
def reorder(
    order: list[int], *, by: Actor, expected: list[int], note: str = "", because: Reason | None = None
) -> list[Provider]:
    """Put the providers in the order of their ids in `order`.

    `expected` is the order that the person saw. Raises Stale if another one is current.
    """
    revision = next_revision()
    providers = {provider.pk: provider for provider in Provider.objects.all()}
    if list(providers) != expected or set(order) != set(expected) or len(order) != len(expected):
        raise Stale("Someone changed the providers in the meantime. Check the new order, then move the provider again.")
    if order == expected:
        raise Refused("No changes to release: the order is the same.")
    for position, pk in enumerate(order, start=1):
        Provider.objects.filter(pk=pk).update(position=position)
    record_release(
        revision,
        "provider.reordered",
        by=by,
        object_name="the chain",
        before={"order": [providers[pk].name for pk in expected]},
        after={"order": [providers[pk].name for pk in order]},
        note=note,
        because=because,
    )
    return list(Provider.objects.all())


@transaction.atomic
def ask_again(provider: Provider, *, by: Actor) -> None:
    """End the provider's cooldown in every process: the next run may call it. The configuration stays as it is."""
    entry = audit.record("provider.cooldown_ended", by=by, object=provider)
    transaction.on_commit(lambda: following.end_cooldown(provider.name, entry.seq), robust=True)


def _fill(provider: Provider, fields: ProviderFields) -> None:
    for name, value in asdict(fields).items():
        setattr(provider, name, value)
    provider.base_url = base_address(provider.base_url)
    provider.adaptations = [name for name in ADAPTATIONS if name in fields.adaptations]
    if unknown := set(fields.adaptations) - ADAPTATIONS.keys():
        raise ValidationError({"adaptations": f"Unknown adaptation: {min(unknown)[:40]!r}."})
    if provider.kind_spec.embedded:
        provider.fall_back_on_auth = False  # it has no key


def _current(provider: Provider, expected: int) -> Provider:
    """Return the provider as the database has it now. Raises Stale if it was changed or removed meanwhile."""
    current = Provider.objects.filter(pk=provider.pk).first()
    if current is None:
        raise Stale(_removed_meanwhile(provider))
    if current.changed_revision != expected:
        raise Stale(
            f"Someone changed {current.name} while you were editing. Reload the page to see it, then edit again."
        )
    return current


def _removed_meanwhile(provider: Provider) -> str:
    return f"Someone removed {provider.name} in the meantime."


def _set_key(provider: Provider, *, key: str, key_env: str) -> None:
    key, key_env = key.strip(), key_env.strip()
    if key and key_env:
        raise ValidationError({"key": "Enter a key or the name of a variable, not both."})
    if not all(0x21 <= ord(character) <= 0x7E for character in key):
        raise ValidationError({"key": "A key has no spaces, line breaks or special characters. Paste it again."})
    provider.key_encrypted = crypto.encrypt(key) if key else ""
    provider.key_env = key_env
    if key_env and (problem := problem_of(provider)):
        raise ValidationError({"key_env": problem})


def _server(provider: Provider) -> tuple[str, str, str]:
    """Return where the provider's key goes: the address's scheme and host, or the vendor if there is no address."""
    address = urlsplit(provider.base_url)
    return (address.scheme, address.netloc.lower(), "" if provider.base_url else provider.kind)


def _check(provider: Provider, *, but: str = "") -> None:
    provider.full_clean(exclude=["key_encrypted", but])
    for name in ("first_text_ms", "stall_ms"):
        if provider.timeout_ms is not None and (getattr(provider, name) or 0) > provider.timeout_ms:
            raise ValidationError(
                {name: f"Enter at most the time limit of one call, {provider.timeout_ms / 1000:g} s."}
            )
    if provider.kind_spec.embedded:
        if provider.base_url or provider.key_env or provider.key_encrypted:
            raise ValidationError("The embedded model needs neither a base URL nor a key. Leave them empty.")
        extras = [getattr(provider, name) for name in NOT_EMBEDDED]
        if any(value is not None and value is not False and value != [] for value in extras):
            raise ValidationError(
                "The embedded model has no prices, no context, no adaptations and no fallback for a missing model. "
                "Leave them empty."
            )
        return
    _check_prices(provider)
    if provider.base_url and (problem := refusal_of_url(provider.base_url)):
        raise ValidationError({"base_url": problem})
    if provider.kind_spec.needs_address and not provider.base_url:
        raise ValidationError({"base_url": "Enter the address of the API, such as http://127.0.0.1:8080/v1."})


def _check_prices(provider: Provider) -> None:
    """Refuse a price of input or output without the other, and a price of cached input without both."""
    if any(not math.isfinite(getattr(provider, name) or 0) for name in PRICES):
        raise ValidationError("Enter each price as a number, in USD per million tokens.")
    missing = [name for name in ("price_input", "price_output") if getattr(provider, name) is None]
    if missing and any(getattr(provider, name) is not None for name in PRICES):
        raise ValidationError(dict.fromkeys(missing, "Enter the prices of both input and output, or no price."))


def _audit_values(provider: Provider) -> dict[str, Any]:
    """Return the provider's values for the audit. Of the key they have only its source."""
    return {
        **parts.columns(provider, RELEASED),
        "adaptations": ", ".join(provider.adaptations),
        "enabled": provider.enabled,
        "key": provider.key_state,
    }
