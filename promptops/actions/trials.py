"""Running the trials of comparisons: claimed one by one, so that several servers, and one that died, do none twice.

A claim is renewed while its trial runs. Who dies, stops renewing; after `CLAIM_SECONDS` somebody else may claim the
trial. The answer and the trial's end are kept in one transaction, and only by who still holds the claim.
"""

import asyncio
import logging
import time
import uuid
from collections import Counter
from contextlib import aclosing
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from promptops import events, live
from promptops.actions.comparisons import finish_if_done
from promptops.actions.errors import Refused
from promptops.actions.releases import Content
from promptops.actions.runs import RunPlan, execute, record_run
from promptops.draining import gate
from promptops.engine.rewrite import parse_alternatives
from promptops.engine.snapshot import ProviderSpec, Snapshot
from promptops.engine.types import PromptOperation
from promptops.enums import ComparisonState, ProviderKind, RunSource, RunStatus, TrialState
from promptops.measures import measure
from promptops.models import Provider, Run, Trial

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
CLAIM_SECONDS = 15.0
RENEW_SECONDS = 4.0
TOLD_SECONDS = 1.0
"""Pages hear of a comparison that goes on at most this often."""

CALLS_AT_ONCE = 4
"""Of one provider, in one server; at most half of the provider's own limit, so that the show goes on beside it."""

NO_ROOM = frozenset({"busy", "rate_limited"})
CHANGED = (
    "This provider is gone, or its kind or address was changed since the comparison began. Start a new comparison."
)
MAX_TRIES = 20
"""How often a trial is tried again for which the provider had no room, a few seconds apart."""


class ClaimLost(Exception):
    """Another process has claimed the trial meanwhile; its answer counts, not this one."""


class Runner:
    """Runs trials for ever, some at once, in one event loop."""

    def __init__(self) -> None:
        self._claim = str(uuid.uuid4())
        self._running: dict[asyncio.Task[None], Trial] = {}
        self._told: dict[int, float] = {}

    async def run(self) -> None:
        """Until canceled. What goes wrong with the database is told once in a row, and tried again."""
        told = False
        renewed = time.monotonic()
        try:
            while True:
                try:
                    found = 0 if gate.closed else await self._start_more()
                    if self._running and time.monotonic() - renewed > RENEW_SECONDS:
                        renewed = time.monotonic()
                        await _in_thread(_renew, self._claim)
                    told = False
                except Exception as error:
                    found = 0
                    if not told:
                        log.exception("Comparisons cannot go on (%s); trying again twice a second.", error)
                        told = True
                if found and self._running:
                    await asyncio.wait(self._running, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                else:
                    await asyncio.sleep(POLL_SECONDS)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _start_more(self) -> int:
        """Claim what may run now, and start it. Returns how many are running."""
        busy = Counter(trial.arm.provider_id for trial in self._running.values())
        snapshot = await live.acurrent()
        for trial in await _in_thread(_claim_some, self._claim, busy):
            task = asyncio.create_task(self._one(trial, snapshot))
            self._running[task] = trial
            task.add_done_callback(self._running.pop)
        return len(self._running)

    async def _one(self, trial: Trial, snapshot: Snapshot) -> None:
        try:
            spec = _spec(trial)
            plan = _plan(trial, spec, snapshot, self._claim)
            if spec is None:
                await _in_thread(record_run, plan, RunStatus.FAILED, None, CHANGED, 0.0, [])
            else:
                async with aclosing(execute(plan)) as happenings:
                    async for _ in happenings:
                        pass
        except ClaimLost:
            log.warning("Trial %d took so long that its claim was lost; it was claimed again.", trial.pk)
        except Refused:  # the server is about to end
            await _in_thread(_give_back, trial.pk, self._claim)
        except Exception:
            log.exception("Trial %d broke.", trial.pk)
        if await _in_thread(finish_if_done, trial.comparison_id):
            return
        await self._tell(trial.comparison_id)

    async def _tell(self, comparison: int) -> None:
        now = time.monotonic()
        if now - self._told.get(comparison, 0.0) >= TOLD_SECONDS:
            self._told[comparison] = now
            await get_channel_layer().group_send(events.PAGES, events.message(events.COMPARISON_CHANGED, comparison))


async def _in_thread(work: Any, *arguments: Any) -> Any:
    return await database_sync_to_async(work, thread_sensitive=False)(*arguments)


def _claim_some(claim: str, busy: Counter[int | None]) -> list[Trial]:
    """Claim the next trials of every running comparison, as many as each provider has room for."""
    now = timezone.now()
    claimable = Q(state=TrialState.WAITING) | Q(state=TrialState.RUNNING)
    providers = (
        Trial.objects.filter(claimable, comparison__state=ComparisonState.RUNNING, not_before__lte=now)
        .order_by()
        .values_list("arm__provider", flat=True)
        .distinct()
    )
    claimed: list[Trial] = []
    for provider_id in list(providers):
        provider = Provider.objects.filter(pk=provider_id).first()
        room = _calls_at_once(provider) - busy[provider_id]
        if room <= 0:
            continue
        found = (
            Trial.objects.filter(
                claimable,
                comparison__state=ComparisonState.RUNNING,
                not_before__lte=now,
                arm__provider=provider_id,
            )
            .select_related("arm__template", "arm__version", "arm__provider", "comparison__user", "input")
            .order_by("comparison", "pk")[:room]
        )
        claimed += [trial for trial in found if _claim(trial, claim, now)]
    return claimed


def _calls_at_once(provider: Provider | None) -> int:
    if provider is None:
        return CALLS_AT_ONCE  # they fail at once
    if provider.kind == ProviderKind.LOCAL:
        return 1
    return min(CALLS_AT_ONCE, max(1, (provider.max_concurrent or CALLS_AT_ONCE * 2) // 2))


def _claim(trial: Trial, claim: str, now: datetime) -> bool:
    """Take the trial, unless somebody else was faster."""
    return bool(
        Trial.objects.filter(pk=trial.pk, state=trial.state, claim=trial.claim, not_before=trial.not_before).update(
            state=TrialState.RUNNING, claim=claim, not_before=now + timedelta(seconds=CLAIM_SECONDS)
        )
    )


def _renew(claim: str) -> None:
    ends = timezone.now() + timedelta(seconds=CLAIM_SECONDS)
    Trial.objects.filter(claim=claim, state=TrialState.RUNNING).update(not_before=ends)


def _give_back(trial_id: int, claim: str) -> None:
    Trial.objects.filter(pk=trial_id, claim=claim, state=TrialState.RUNNING).update(
        state=TrialState.WAITING, claim="", not_before=timezone.now()
    )


def _spec(trial: Trial) -> ProviderSpec | None:
    """How to reach the arm's provider, with today's key and the model of then; None when it is not what it was."""
    arm = trial.arm
    provider = arm.provider
    if provider is None or (provider.kind, provider.base_url) != (arm.provider_kind, arm.provider_url):
        return None
    return replace(live.provider_spec(provider), model=arm.provider_model)


def _plan(trial: Trial, spec: ProviderSpec | None, snapshot: Snapshot, claim: str) -> RunPlan:
    """One provider, no fallback: another one's answer would be counted as this arm's."""
    arm, comparison = trial.arm, trial.comparison
    operation = PromptOperation(comparison.operation)
    return RunPlan(
        operation=operation,
        input=trial.input.text,
        content=Content(arm.body, arm.temperature, arm.max_tokens, arm.model),
        providers=(spec,) if spec else (),
        snapshot=replace(snapshot, variables={operation: comparison.variables}),
        source=RunSource.COMPARISON,
        by=comparison.user,
        template=arm.template,
        version=arm.version,
        count=comparison.count,
        timeout_ms=comparison.timeout_ms,
        recorded=lambda run, error_kind: _end(trial, run, error_kind, claim),
    )


def _end(trial: Trial, run: Run, error_kind: str, claim: str) -> None:
    """End the trial in the transaction that keeps its run, or put it back when it was not the arm that failed."""
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("A trial ends in the transaction that keeps its run.")
    held = Trial.objects.filter(pk=trial.pk, claim=claim, state=TrialState.RUNNING)
    now = timezone.now()
    if run.status == RunStatus.CANCELED:
        ended = held.update(state=TrialState.WAITING, claim="", not_before=now)
    elif error_kind in NO_ROOM and trial.tries < MAX_TRIES:
        later = now + timedelta(seconds=min(2**trial.tries, 30))
        ended = held.update(state=TrialState.WAITING, claim="", not_before=later, tries=F("tries") + 1)
    elif run.status == RunStatus.SUCCEEDED:
        ended = held.update(state=TrialState.SUCCEEDED, run=run, finished_at=now, **_measured(run))
    else:
        ended = held.update(state=TrialState.FAILED, run=run, finished_at=now)
    if not ended:
        raise ClaimLost


def _measured(run: Run) -> dict[str, Any]:
    """What is counted of an answer, by the trial's fields.

    What auto_extend goes on with is a new prompt, which need not have the words of those before it.
    """
    found: list[str] = []
    if rewrite := run.operation == PromptOperation.REWRITE.value:
        found = parse_alternatives(run.output, len(run.output))
    given = None if run.operation == PromptOperation.AUTO_EXTEND.value else run.input
    fields = asdict(measure(given, run.output, alternatives=found))
    return fields | ({"alternatives": min(len(found), 32_767)} if rewrite else {})
