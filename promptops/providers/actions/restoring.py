"""Restoring the chain of an earlier release, as one part of a release. `fleet.actions.last_good` releases it."""

from copy import copy
from typing import Any
from urllib.parse import urlsplit

from promptops.ledger import parts
from promptops.ledger.parts import Restoration
from promptops.providers import following
from promptops.providers.live_part import RELEASED, released_values
from promptops.providers.models import Provider


@parts.restores("providers")
def plan_chain(rows: list[dict[str, Any]]) -> Restoration:
    """Turn on the providers of the rows, in their order and with their values, and turn off all others.

    Keys stay those of today. A provider keeps its values if its address is another one now, because its key must not
    go to another server.
    """
    present = {provider.name: provider for provider in Provider.objects.all()}
    chain, stays = [], []
    for row in rows:
        provider = present.pop(row["name"], None)
        if provider is None:
            stays.append(f"The provider {row['name']} and its key were removed since. Add it again by hand.")
            continue
        if _server(row) != _server(parts.columns(provider, RELEASED)):
            stays.append(
                f"{provider.name} keeps its values of today: its address changed since, and its key belongs to it."
            )
            row = {}
        elif row.get("key") not in (None, provider.key_state):
            stays.append(f"{provider.name} keeps its key of today ({provider.key_state}; then {row['key']}).")
        chain.append((provider, _with_values(provider, row)))

    def save(revision: int) -> None:
        for place, (before, after) in enumerate(chain, start=1):
            _save(before, after, place, revision)
        for place, before in enumerate(present.values(), start=len(chain) + 1):
            after = copy(before)
            after.enabled = False
            _save(before, after, place, revision)

    return Restoration([released_values(after) for _, after in chain], stays, save)


def _server(row: dict[str, Any]) -> tuple[str, str, str]:
    """Return where the key of a provider goes: scheme and host, or the vendor if there is no address."""
    address = urlsplit(row["base_url"])
    return (address.scheme, address.netloc.lower(), "" if row["base_url"] else row["kind"])


def _with_values(provider: Provider, row: dict[str, Any]) -> Provider:
    """Return the provider, turned on, with the values of the row. A column that the row does not have stays."""
    restored = copy(provider)
    for name in set(RELEASED).intersection(row):
        setattr(restored, name, row[name])
    restored.enabled = True
    if _values(restored) != _values(provider):
        restored.full_clean(exclude=["key_encrypted"])
    return restored


def _save(before: Provider, after: Provider, position: int, revision: int) -> None:
    if _values(after) != _values(before):
        after.changed_revision = revision
    if (following.server(after), after.model) != (following.server(before), before.model):
        after.learned.all().delete()  # they were learned from another model
    after.position = position
    after.save()


def _values(provider: Provider) -> dict[str, Any]:
    return parts.columns(provider, (*RELEASED, "enabled"))
