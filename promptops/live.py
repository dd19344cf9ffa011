"""The live configuration in memory: database -> Snapshot, the current one, and following changes made elsewhere.

Runs read `current()`, one reference, and keep it until they end. A release swaps the reference when it commits;
When another process has released, `hear()` swaps it at its hint in Redis, or `follow()` at its next look. In every
process the snapshot is swapped before pages hear of the release.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from channels.db import database_sync_to_async
from django.db import Error

from promptops import crypto, events, guards, polling
from promptops.engine.health import HealthRegistry
from promptops.engine.providers.adaptations import learned
from promptops.engine.providers.addresses import base_address
from promptops.engine.snapshot import ProviderSpec, SettingsSpec, Snapshot, TemplateSpec
from promptops.engine.types import Prices, PromptOperation
from promptops.engine.variables import find
from promptops.key_variables import address_of, problem_of
from promptops.models import LearnedAdaptation, LiveConfiguration, Provider, Template, Variable, Version
from promptops.polling import Look
from promptops.threads import DatabaseThread, in_background

log = logging.getLogger(__name__)

FOLLOW_SECONDS = 0.5

health = HealthRegistry()
"""How the providers are doing, as the runs of this process have found; it outlives every swap of the snapshot."""


@dataclass
class Following:
    """How keeping up with the database goes in this process; times are those of `time.monotonic`."""

    polled_at: float | None = None
    """When `follow` last read the database."""
    loaded_at: float | None = None
    """When the current snapshot was loaded."""
    failed_at: float | None = None
    failure: str = ""
    """The kind of the last error of `follow`; its text may name hosts and people."""

    @property
    def is_failing(self) -> bool:
        """Whether the newest look at the database failed."""
        return self.failed_at is not None and self.failed_at > (self.polled_at or 0.0)


following = Following()

_lock = threading.Lock()
_current: Snapshot | None = None
_restored: set[tuple[str, str]] = set()  # what `learned` knows from the database, by address and model
_ended_here: set[int] = set()  # the audit entries of cooldowns that this process has ended


def current() -> Snapshot:
    """The snapshot that this process runs; the first call loads it (so async code calls it through `acurrent`)."""
    return _current or refresh()


def loaded_snapshot() -> Snapshot | None:
    """Return the snapshot if one is loaded, without reading the database."""
    return _current


async def acurrent() -> Snapshot:
    """`current()` for async code: no query once a snapshot is loaded."""
    return _current or await database_sync_to_async(refresh)()


def refresh() -> Snapshot:
    """Load the live configuration and swap it in, unless this process already has a newer one."""
    global _current
    loaded = load()
    with _lock:
        before = _current
        if before is None or loaded.revision >= before.revision:
            _current = loaded
            following.loaded_at = time.monotonic()
            if before is not None:
                _forget_changed(before, loaded)
            if before is None or before.safety != loaded.safety:
                guards.warm_up(loaded.safety)
        else:
            return before
    restore_learned()
    return loaded


def _forget_changed(before: Snapshot, after: Snapshot) -> None:
    """A provider that was edited starts with a clean slate: what was found of the old settings says nothing now."""
    known = {provider.name: provider for provider in before.providers}
    for provider in after.providers:
        if provider.name in known and known[provider.name] != provider:
            health.forget(provider.name)


def forget() -> None:
    """Drop the snapshot, so that the next reader loads it (for tests)."""
    global _current
    _current = None


def server(provider: Provider) -> str:
    """Return the address by which the engine remembers what it learned of the provider."""
    return base_address(address_of(provider)).rstrip("/")


def restore_learned() -> None:
    """Make this process ask each provider as the database knows that it wants to be asked.

    What the database no longer has is forgotten.
    """
    global _restored
    stored: dict[tuple[str, str], dict[str, str]] = {}
    for row in LearnedAdaptation.objects.select_related("provider"):
        stored.setdefault((server(row.provider), row.model), {})[row.name] = row.words
    with _lock:
        for place in _restored - stored.keys():
            learned.forget(*place)
        for place, words in stored.items():
            learned.restore(*place, words)
        _restored = set(stored)


def end_cooldown(provider: str, entry: int) -> None:
    """Let runs of this process ask the provider again now. `entry` is the audit entry of the person's decision."""
    if entry not in _ended_here:
        _ended_here.add(entry)
        health.end_cooldown(provider)


def load() -> Snapshot:
    """Read the live configuration from the database in one consistent picture."""
    while True:
        config = LiveConfiguration.objects.get(pk=1)
        snapshot = _load(config)
        # A release in between would mix two revisions; its first act is to raise the counter.
        if LiveConfiguration.objects.values_list("revision", flat=True).get(pk=1) == config.revision:
            return snapshot


def template_spec(template: Template, version: Version) -> TemplateSpec:
    """What a run needs of a template at one version."""
    return TemplateSpec(
        id=template.pk,
        name=template.name,
        operation=PromptOperation(template.operation),
        version_id=version.pk,
        version_number=version.number,
        body=version.body,
        temperature=version.temperature,
        max_tokens=version.max_tokens,
        model=version.model or None,
        sha256=version.sha256,
    )


def provider_spec(provider: Provider) -> ProviderSpec:
    """What a run needs of a provider, its decrypted key included (never in its repr)."""
    key, key_problem = None, problem_of(provider)
    if provider.key_encrypted:
        try:
            key = crypto.decrypt(provider.key_encrypted)
        except crypto.UnreadableSecret:
            log.error("The stored key of provider %s cannot be read: enter it again.", provider.name)
            # Never another key in its place: the vendor's variable might hold one that is not for this address.
            key_problem = "its stored key cannot be read. Enter it again."
    return ProviderSpec(
        id=provider.pk,
        name=provider.name,
        kind=provider.kind,
        base_url=provider.base_url,
        model=provider.model,
        timeout_ms=provider.timeout_ms,
        api_key=key,
        key_env=provider.key_env or None,
        key_problem=key_problem,
        max_concurrent=provider.max_concurrent,
        prices=_prices(provider),
        fall_back_on=frozenset(
            kind
            for kind, chosen in (
                ("auth", provider.fall_back_on_auth),
                ("not_found", provider.fall_back_on_not_found),
                ("refused", provider.fall_back_on_refused),
            )
            if chosen
        ),
        context_tokens=provider.context_tokens,
        first_text_ms=provider.first_text_ms,
        stall_ms=provider.stall_ms,
        adaptations=frozenset(provider.adaptations),
    )


def _prices(provider: Provider) -> Prices | None:
    if provider.price_input is None or provider.price_output is None:
        return None
    return Prices(input=provider.price_input, cached=provider.price_cached, output=provider.price_output)


def _load(config: LiveConfiguration) -> Snapshot:
    templates = Template.objects.filter(live_version__isnull=False, archived_at__isnull=True)
    rows = list(templates.select_related("live_version"))
    return Snapshot(
        revision=config.revision,
        templates=tuple(template_spec(row, row.live_version) for row in rows if row.live_version),
        defaults=MappingProxyType({PromptOperation(row.operation): row.pk for row in rows if row.is_default}),
        providers=tuple(provider_spec(provider) for provider in Provider.objects.filter(enabled=True)),
        settings=SettingsSpec(
            timeout_ms=config.timeout_ms,
            temperature=config.temperature,
            max_tokens=config.max_tokens,
            hedge_after_ms=MappingProxyType(_hedging(config)),
        ),
        variables=MappingProxyType(_variables()),
        safety=guards.load(),
    )


def values_of(operation: str) -> dict[str, str]:
    """What the variables of the operation stand for, by name, as the database has it."""
    return dict(Variable.objects.filter(operation=operation).values_list("name", "value"))


def variable_users(operation: str | None = None) -> dict[tuple[str, str], list[Version]]:
    """By operation and name of a variable: the live versions that use it, as the database has them."""
    templates = Template.objects.filter(archived_at=None, live_version__body__contains="{{")
    if operation:
        templates = templates.filter(operation=operation)
    found: dict[tuple[str, str], list[Version]] = {}
    for template in templates.select_related("live_version__template"):
        if version := template.live_version:
            for name in find(version.body):
                found.setdefault((template.operation, name), []).append(version)
    return found


def _variables() -> dict[PromptOperation, MappingProxyType[str, str]]:
    found: dict[PromptOperation, dict[str, str]] = {operation: {} for operation in PromptOperation}
    for variable in Variable.objects.all():
        found[PromptOperation(variable.operation)][variable.name] = variable.value
    return {operation: MappingProxyType(values) for operation, values in found.items()}


def _hedging(config: LiveConfiguration) -> dict[PromptOperation, int | None]:
    chosen = {operation: getattr(config, f"hedge_{operation.value}") for operation in PromptOperation}
    return {operation: None if after == "p95" else int(after) for operation, after in chosen.items() if after}


async def hear(event: str, number: int) -> None:
    """Take a hint of another process: swap the snapshot first where it names a newer revision, then tell pages.

    While the database cannot be read it does neither: pages then hear of the release from `follow()`.
    """
    if event == events.REVISION_RELEASED and (_current is None or number > _current.revision):
        try:
            await in_background(refresh)
        except Error:  # which `follow` logs
            return
    await events.tell_pages(event, number)


async def follow(interval: float = FOLLOW_SECONDS, *, on_comparison: Callable[[], None] = lambda: None) -> None:
    """For ever: notice what other processes changed, swap the snapshot, and tell this process's open pages.

    `on_comparison` is called at each look while a comparison is running.
    """
    before: Look | None = None
    thread = DatabaseThread("follower")  # its own, so that nothing slow holds up a release
    try:
        while True:
            try:
                now = await thread.run(polling.look)
                await _take_over(before, now, thread)
                if now.is_comparing:
                    on_comparison()
                before, following.polled_at = now, time.monotonic()
            except Exception as error:  # a database that is away must not end the following
                if not following.is_failing:
                    log.error("The live configuration cannot be read (%s); trying again twice a second.", error)
                following.failed_at, following.failure = time.monotonic(), type(error).__name__
            await asyncio.sleep(interval)
    finally:
        await thread.close()


async def _take_over(before: Look | None, now: Look, thread: DatabaseThread) -> None:
    """Swap the snapshot if it is old, take over what else changed, and tell pages what they have not heard yet."""
    if _current is None or now.heads[events.REVISION_RELEASED] > _current.revision:
        await thread.run(refresh)
    if now.learned != (before.learned if before else frozenset()):
        await thread.run(restore_learned)
    presence_before = before.presence if before else {}
    for template in {*presence_before, *now.presence}:
        if presence_before.get(template) != now.presence.get(template):
            await events.tell_pages(events.PRESENCE_CHANGED, template)
    if before is None:
        events.begin_at(now.heads)  # pages that open later begin there
        return
    if any(now.heads[event] < number for event, number in before.heads.items()):  # a backup was restored
        events.begin_at({})
    for event, number in now.heads.items():
        await events.tell_pages(event, number)
    newest_entry = before.heads[events.AUDIT_RECORDED]
    if now.heads[events.AUDIT_RECORDED] > newest_entry:
        for person in await thread.run(polling.people_changed, newest_entry):
            await events.tell_pages(events.USER_CHANGED, person)
        for provider, entry in await thread.run(polling.cooldowns_ended, newest_entry):
            end_cooldown(provider, entry)
