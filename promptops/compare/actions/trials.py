"""Run the trials of comparisons. Servers claim trials, so that no trial is answered twice, even if a server dies.

A server renews its claims while the trials run. If it dies, it renews no more. Another server that has seen no renewal
for `CLAIM_SECONDS` by its own monotonic clock frees the trial. Setting the machine's clock back or forward does not
affect claims. The answer and the end of its trial are saved in one transaction, and only if the claim is still valid.
"""

import asyncio
import logging
import time
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Prefetch, Q, QuerySet
from django.utils import timezone

from promptops.compare.actions.comparisons import finish_if_done
from promptops.compare.enums import ComparisonState, TrialState
from promptops.compare.models import Arm, Comparison, Trial
from promptops.compare.models.comparisons import LONGEST_DELAY, delayed
from promptops.engine.judged_runs import Outcome
from promptops.engine.rewrite import parse_alternatives
from promptops.engine.snapshot import ProviderSpec, Snapshot
from promptops.ledger.errors import Refused
from promptops.live import snapshots as live
from promptops.platform import events
from promptops.platform.draining import gate
from promptops.platform.threads import DatabaseThread
from promptops.prompts.content import long_fields
from promptops.prompts.queries import operations
from promptops.providers.live_part import provider_spec
from promptops.providers.models import Provider
from promptops.runs.actions.execution import execute
from promptops.runs.actions.records import record_run
from promptops.runs.enums import RunSource, RunStatus
from promptops.runs.erasers import erases_with_runs
from promptops.runs.keepers import keeps_runs
from promptops.runs.models import Run
from promptops.runs.plans import RunPlan
from promptops.stats.measures import measure

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
IDLE_SECONDS = 10.0
"""Seconds between an idle runner's checks for work, unless it is woken (`Runner.wake`)."""

CLAIM_SECONDS = 15.0
RENEW_SECONDS = 4.0
HINT_SECONDS = 1.0
"""Pages receive a hint about a running comparison at most this often."""

GATHER_SECONDS = 0.05
"""The runner waits this long after a trial ends, so that several trials are claimed together."""

CALLS_AT_ONCE = 4
"""Calls to one provider from one server; at most half of the provider's limit, to leave room for live traffic."""

NO_ROOM = frozenset({"busy", "rate_limited"})
CHANGED = (
    "This provider was removed, or its kind or address was changed after the comparison started. "
    "Start a new comparison."
)
MAX_TRIES = 20
"""Retries of a trial, a few seconds apart, if its provider has no room."""


class ClaimLost(Exception):
    """Another process has claimed the trial meanwhile. That process's answer counts, not this one."""


Claim = tuple[str, datetime]
"""A claim as the database shows it: its id, and `not_before`, which each renewal changes."""


class ClaimWatch:
    """Detects claims that nobody renews. `clock` returns seconds and must be monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[Claim, float] = {}

    def dead(self, claims: Iterable[Claim]) -> list[Claim]:
        """Return those of the current claims that have not changed for CLAIM_SECONDS."""
        now = self._clock()
        self._seen = {claim: self._seen.get(claim, now) for claim in claims}
        return [claim for claim, since in self._seen.items() if now - since >= CLAIM_SECONDS]

    def start_over(self) -> None:
        """Restart the time of every claim, because nobody could renew claims during a database outage."""
        self._seen = {}


RUNNERS: "weakref.WeakSet[Runner]" = weakref.WeakSet()  # of this process; `compare.following` wakes them


class Runner:
    """Runs trials until it is canceled, several at a time, in one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._watch = ClaimWatch(clock)
        self._claim = str(uuid.uuid4())
        self._running: dict[asyncio.Task[None], Trial] = {}
        self._hinted: dict[int, float] = {}  # by comparison: when pages last received a hint
        self._thread = DatabaseThread("comparisons")
        self._checked = 0.0  # when it last tried to read the claims
        self._read = 0.0  # when it last read them
        self._has_work = True
        self._woken = asyncio.Event()
        RUNNERS.add(self)

    def wake(self) -> None:
        """Check for work now. Must be called in the runner's event loop."""
        self._woken.set()

    async def run(self) -> None:
        """Run trials until canceled. Database errors are retried; only the first of several in a row is logged."""
        is_logged = False
        renewed = time.monotonic()
        try:
            while True:
                self._woken.clear()
                try:
                    await self._check_claims()
                    running = 0 if gate.closed else await self._start_more()
                    if self._running and time.monotonic() - renewed > RENEW_SECONDS:
                        renewed = time.monotonic()
                        await self._thread.run(_renew, self._claim)
                    is_logged = False
                except Exception as error:
                    running, self._has_work = 0, True
                    if not is_logged:
                        log.exception("Comparisons cannot continue (%s); retrying twice a second.", error)
                        is_logged = True
                if running and self._running:
                    await asyncio.wait(self._running, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                    await asyncio.sleep(min(GATHER_SECONDS, POLL_SECONDS))
                elif self._has_work:
                    await asyncio.sleep(POLL_SECONDS)
                else:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._woken.wait(), IDLE_SECONDS)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            await self._thread.close()

    async def _check_claims(self) -> None:
        """Free trials whose claims nobody renews, and finish comparisons whose trials have all ended.

        Claims of a paused comparison are work, too: the server that holds them may have died.
        """
        if time.monotonic() - self._checked < POLL_SECONDS:
            return
        self._checked = time.monotonic()
        if self._checked - self._read > RENEW_SECONDS:
            self._watch.start_over()
        has_claims = await self._thread.run(_free_dead_claims, self._watch)
        self._read = time.monotonic()
        running = await self._thread.run(_running)
        for comparison, has_trials in running:
            if not has_trials:
                await self._thread.run(finish_if_done, comparison)
        self._has_work = has_claims or bool(running)

    async def _start_more(self) -> int:
        """Claim the trials that may run now, and start them. Return how many are running."""
        busy = Counter(trial.arm.provider_id for trial in self._running.values())
        snapshot = await live.acurrent()
        for trial in await self._thread.run(_claim_some, self._claim, busy):
            task = asyncio.create_task(self._one(trial, snapshot))
            self._running[task] = trial
            task.add_done_callback(self._running.pop)
        return len(self._running)

    async def _one(self, trial: Trial, snapshot: Snapshot) -> None:
        try:
            spec = _spec(trial)
            plan = replace(_plan(trial, spec, snapshot, self._claim), thread=self._thread)
            if spec is None:
                await self._thread.run(record_run, plan, Outcome("failed", error=CHANGED))
            else:
                async with aclosing(execute(plan)) as run_events:
                    async for _ in run_events:
                        pass
        except ClaimLost:
            log.warning("Trial %d lost its claim because it took too long; another process claimed it.", trial.pk)
        except Refused:  # the server is shutting down
            await self._thread.run(_release, trial.pk, self._claim)
        except Exception:
            log.exception("Trial %d failed unexpectedly.", trial.pk)
        await self._hint(trial.comparison_id)

    async def _hint(self, comparison: int) -> None:
        now = time.monotonic()
        if now - self._hinted.get(comparison, 0.0) >= HINT_SECONDS:
            self._hinted[comparison] = now
            await events.tell_pages(events.COMPARISON_CHANGED, comparison)


def _free_dead_claims(watch: ClaimWatch) -> bool:
    """Free the trials whose server has died. Return whether any trial was claimed."""
    running = Trial.objects.filter(state=TrialState.RUNNING)
    claims = list(running.order_by().values_list("claim", "not_before").distinct())
    for claim, not_before in watch.dead(claims):
        running.filter(claim=claim, not_before=not_before).update(
            state=TrialState.WAITING, claim="", not_before=timezone.now()
        )
    return bool(claims)


def _running() -> list[tuple[int, bool]]:
    """Return the ids of the running comparisons, each with whether it has a trial that has not ended."""
    left = Trial.objects.filter(comparison=OuterRef("pk"), state__in=[TrialState.WAITING, TrialState.RUNNING])
    running = Comparison.objects.filter(state=ComparisonState.RUNNING)
    return list(running.values_list("pk", Exists(left)))


def _claim_some(claim: str, busy: Counter[int | None]) -> list[Trial]:
    """Claim the next trials of all running comparisons, as many as each provider has room for."""
    now = timezone.now()
    arms: dict[int | None, list[Arm]] = {}
    running = (
        Arm.objects.filter(comparison__state=ComparisonState.RUNNING).select_related("provider").defer(*long_fields(""))
    )
    for arm in running:
        arms.setdefault(arm.provider_id, []).append(arm)
    wanted: list[int] = []
    waiting = Trial.objects.filter(~delayed(now), state=TrialState.WAITING)
    for provider_id, its_arms in arms.items():
        if (room := _calls_at_once(its_arms[0].provider) - busy[provider_id]) > 0:
            # The filter by comparison lets the database use the index on comparison and state.
            mine = waiting.filter(comparison__in={arm.comparison_id for arm in its_arms}, arm__in=its_arms)
            wanted += mine.order_by("comparison", "pk").values_list("pk", flat=True)[:room]
    if not wanted:
        return []
    # `waiting` excludes trials that another server has claimed meanwhile.
    ends = now + timedelta(seconds=CLAIM_SECONDS)
    waiting.filter(pk__in=wanted).update(state=TrialState.RUNNING, claim=claim, not_before=ends)
    claimed = Trial.objects.filter(pk__in=wanted, state=TrialState.RUNNING, claim=claim, not_before=ends)
    # There are many trials of few arms with long texts, so each arm is loaded once.
    arms_with = Arm.objects.select_related("template", "version", "provider").defer(*long_fields("version__"))
    related = claimed.select_related("input").prefetch_related(
        Prefetch("arm", arms_with), Prefetch("comparison", Comparison.objects.select_related("user"))
    )
    return list(related.order_by("comparison", "pk"))


def _calls_at_once(provider: Provider | None) -> int:
    if provider is None:
        return CALLS_AT_ONCE  # trials without a provider fail immediately
    if provider.kind_spec.embedded:
        return 1
    return min(CALLS_AT_ONCE, max(1, (provider.max_concurrent or CALLS_AT_ONCE * 2) // 2))


def _renew(claim: str) -> None:
    ends = timezone.now() + timedelta(seconds=CLAIM_SECONDS)
    Trial.objects.filter(claim=claim, state=TrialState.RUNNING).update(not_before=ends)


def _release(trial_id: int, claim: str) -> None:
    Trial.objects.filter(pk=trial_id, claim=claim, state=TrialState.RUNNING).update(
        state=TrialState.WAITING, claim="", not_before=timezone.now()
    )


def _spec(trial: Trial) -> ProviderSpec | None:
    """Return the arm's provider with today's key and the arm's model, or None if its kind or address has changed."""
    arm = trial.arm
    provider = arm.provider
    if provider is None or (provider.kind, provider.base_url) != (arm.provider_kind, arm.provider_url):
        return None
    return replace(provider_spec(provider), model=arm.provider_model)


def _plan(trial: Trial, spec: ProviderSpec | None, snapshot: Snapshot, claim: str) -> RunPlan:
    """Return the plan of the run, without a fallback: another provider's answer would count as this arm's."""
    arm, comparison = trial.arm, trial.comparison
    operation = comparison.operation
    return RunPlan(
        operation=operation,
        input=trial.input.text,
        content=arm.content,
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
    """End the trial in the transaction that saves its run, or let it wait again if the arm is not to blame."""
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("A trial must end in the transaction that saves its run.")
    claimed = Trial.objects.filter(pk=trial.pk, claim=claim, state=TrialState.RUNNING)
    now = timezone.now()
    if run.status == RunStatus.CANCELED:
        updated = claimed.update(state=TrialState.WAITING, claim="", not_before=now)
    elif error_kind in NO_ROOM and trial.tries < MAX_TRIES:
        later = now + min(timedelta(seconds=2**trial.tries), LONGEST_DELAY)
        updated = claimed.update(state=TrialState.WAITING, claim="", not_before=later, tries=F("tries") + 1)
    elif run.status == RunStatus.SUCCEEDED:
        updated = claimed.update(state=TrialState.SUCCEEDED, run=run, finished_at=now, **_measured(run))
    else:
        updated = claimed.update(state=TrialState.FAILED, run=run, finished_at=now)
    if not updated:
        raise ClaimLost


def _measured(run: Run) -> dict[str, Any]:
    """Return the measures of an answer by the names of the trial's fields.

    "Subject kept" is measured only if the answers of the operation should keep the subject of their input.
    """
    spec = operations.of(run.operation)
    alternatives = parse_alternatives(run.output, len(run.output)) if spec.offers_alternatives else []
    input_text = run.input if spec.keeps_subject else None
    fields = asdict(measure(input_text, run.output, alternatives=alternatives)) | {"answer_hash": run.answer_hash}
    return fields | ({"alternatives": min(len(alternatives), 32_767)} if spec.offers_alternatives else {})


@keeps_runs
def _run_of_a_trial() -> Q:
    return Q(Exists(Trial.objects.filter(run=OuterRef("pk"))))


@erases_with_runs
def _forget_hashes(runs: QuerySet[Run], is_expiry: bool) -> None:
    """Exclude the trials of erased runs from voting, because their answers can no longer be read."""
    Trial.objects.filter(run__in=runs).update(answer_hash=None)
