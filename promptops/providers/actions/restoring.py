"""Restoring the chain of an earlier release, as one part of a release. `fleet.actions.last_good` releases it."""

from typing import Any
from urllib.parse import urlsplit

from promptops.ledger import parts
from promptops.providers import following
from promptops.providers.live_part import RELEASED
from promptops.providers.models import Provider


@parts.restores("providers")
def restore_chain(rows: list[dict[str, Any]], revision: int) -> list[str]:
    """Turn on the providers of the rows, in their order and with their values, and turn off all others.

    Keys stay those of today. A provider keeps its values if its address is another one now, because its key must not
    go to another server.
    """
    present = {provider.name: provider for provider in Provider.objects.all()}
    sentences, chain = [], []
    for row in rows:
        provider = present.pop(row["name"], None)
        if provider is None:
            sentences.append(f"The provider {row['name']} and its key were removed since. Add it again by hand.")
            continue
        chain.append(provider)
        if _server(row) != _server(parts.columns(provider, RELEASED)):
            sentences.append(
                f"{provider.name} keeps its values of today: its address changed since, and its key belongs to it."
            )
            _enable(provider, len(chain), revision)
            continue
        if row.get("key") not in (None, provider.key_state):
            sentences.append(f"{provider.name} keeps its key of today ({provider.key_state}; then {row['key']}).")
        _set(provider, row, len(chain), revision)
    for place, provider in enumerate(present.values(), start=len(chain) + 1):
        _place(provider, enabled=False, position=place, revision=revision)
    return sentences


def _server(row: dict[str, Any]) -> tuple[str, str, str]:
    """Return where the key of a provider goes: scheme and host, or the vendor if there is no address."""
    address = urlsplit(row["base_url"])
    return (address.scheme, address.netloc.lower(), "" if row["base_url"] else row["kind"])


def _set(provider: Provider, row: dict[str, Any], position: int, revision: int) -> None:
    """Set the values of the row. A column that an older release did not store stays as it is."""
    wanted = {name: value for name, value in row.items() if name in RELEASED and getattr(provider, name) != value}
    if wanted:
        learned_at = (following.server(provider), provider.model)
        for name, value in wanted.items():
            setattr(provider, name, value)
        provider.changed_revision = revision
        provider.full_clean(exclude=["key_encrypted"])
        provider.save()
        if (following.server(provider), provider.model) != learned_at:
            provider.learned.all().delete()  # they were learned from another model
    _enable(provider, position, revision)


def _enable(provider: Provider, position: int, revision: int) -> None:
    _place(provider, enabled=True, position=position, revision=revision)


def _place(provider: Provider, *, enabled: bool, position: int, revision: int) -> None:
    if provider.enabled != enabled:
        provider.enabled, provider.changed_revision = enabled, revision
    provider.position = position
    provider.save(update_fields=["enabled", "position", "changed_revision"])
