"""Adaptations that runs learn: storing them for all processes, and forgetting them on request.

They do not belong to the live configuration, so learning one is no release. The adaptations themselves are in
`engine.providers.adaptations`.
"""

import asyncio
import logging

from django.db import transaction

from promptops.engine.providers.adaptations import learned
from promptops.engine.providers.addresses import base_address
from promptops.ledger import audit, registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.ledger.registry import Action
from promptops.platform import background
from promptops.platform.threads import in_background
from promptops.providers import following
from promptops.providers.models import LearnedAdaptation, Provider

registry.register(
    Action(
        "provider.adaptation_forgotten",
        "{actor} made {object} forget an adaptation ({before[adaptation]})",
        when="somebody made a provider forget an adaptation that runs had learned",
        object="provider",
    )
)

log = logging.getLogger(__name__)

_writing: set[asyncio.Task[None]] = set()  # a loop keeps only weak references to its tasks


@background.at_start
def listen() -> None:
    """Store in the background the adaptations that runs of this process learn. A run never waits for that."""
    learned.on_learned = _on_learned


def _on_learned(base_url: str, model: str, name: str, words: str) -> None:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        log.warning("The adaptation %s (model %s) is not stored: there is no event loop.", name, model)
        return
    task = loop.create_task(_store_later(base_url, model, name, words))
    _writing.add(task)
    task.add_done_callback(_writing.discard)


async def _store_later(base_url: str, model: str, name: str, words: str) -> None:
    try:
        await in_background(store, base_url, model, name, words)
    except Exception:
        log.exception(
            "The adaptation %s (model %s) could not be stored; it is learned again after a restart.", name, model
        )


@transaction.atomic
def store(base_url: str, model: str, name: str, words: str) -> None:
    """Store an adaptation for each provider that calls this model at this address."""
    for provider in Provider.objects.filter(model__in=["", model]):
        if following.server(provider) == base_address(base_url).rstrip("/"):
            LearnedAdaptation.objects.get_or_create(
                provider=provider, model=model[:200], name=name, defaults={"words": clean(words)}
            )


def clean(words: str) -> str:
    """Return a provider's words on one line of at most 500 characters."""
    return " ".join(words.replace("\x00", "").split())[:500]


@transaction.atomic
def forget(provider: Provider, name: str, *, by: Actor) -> None:
    """Forget an adaptation of the provider, so that the next run calls it without. Raises Refused if it has none.

    Other providers at the same address with the same model share their adaptations, so they forget it too.
    """
    server = following.server(provider)
    models = list(provider.learned.filter(name=name).values_list("model", flat=True))
    if not models:
        raise Refused(f"{provider.name} has no such adaptation. It may have been forgotten meanwhile; reload the page.")
    rows = LearnedAdaptation.objects.filter(name=name, model__in=models).select_related("provider")
    LearnedAdaptation.objects.filter(
        pk__in=[row.pk for row in rows if following.server(row.provider) == server]
    ).delete()
    audit.record("provider.adaptation_forgotten", by=by, object=provider, before={"adaptation": name})
    transaction.on_commit(lambda: _forget_here(server, models), robust=True)


def _forget_here(server: str, models: list[str]) -> None:
    """Forget the adaptation in this process. Other processes follow within a second."""
    for model in models:
        learned.forget(server, model)
    following.restore_learned()
