"""Running the trials of comparisons: claimed one by one, so that several servers, and one that died, do none twice.

A claim is renewed while its trial runs. A server that dies stops renewing; another server that has seen no renewal for
`CLAIM_SECONDS` by its own monotonic clock frees the trial. The machine's clock can be set back or forward and decides
nothing about claims. The answer and the trial's end are kept in one transaction, and only by the holder of the claim.
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
from django.db.models import Exists, F, OuterRef, Prefetch, QuerySet
from django.utils import timezone

from promptops.compare.actions.comparisons import finish_if_done
from promptops.compare.enums import ComparisonState, TrialState
from promptops.compare.models import Arm, Comparison, Trial
from promptops.compare.models.comparisons import LONGEST_DELAY, delayed
from promptops.engine.rewrite import parse_alternatives
from promptops.engine.snapshot import ProviderSpec, Snapshot
from promptops.ledger.errors import Refused
from promptops.live import snapshots as live
from promptops.platform import events
from promptops.platform.draining import gate
from promptops.platform.threads import DatabaseThread
from promptops.providers.live_part import provider_spec
from promptops.providers.models import Provider
from promptops.runs.actions.execution import execute
from promptops.runs.actions.records import record_run
from promptops.runs.enums import RunSource, RunStatus
from promptops.runs.erasers import erases_with_runs
from promptops.runs.models import Run
from promptops.runs.plans import Outcome, RunPlan
from promptops.stats.measures import measure

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
IDLE_SECONDS = 10.0
"""Without a comparison the runner looks this often by itself, and else when it is woken (`Runner.wake`)."""

CLAIM_SECONDS = 15.0
RENEW_SECONDS = 4.0
TOLD_SECONDS = 1.0
"""Pages hear of a comparison that goes on at most this often."""

GATHER_SECONDS = 0.05
"""A place that got free at a provider waits so long for others, so that they are claimed together."""

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


Claim = tuple[str, datetime]
"""A claim as the database shows it: its id, and `not_before`, which each renewal changes."""


class ClaimWatch:
    """Notices claims that nobody renews. `clock` returns seconds and must be monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[Claim, float] = {}

    def dead(self, claims: Iterable[Claim]) -> list[Claim]:
        """Return those of the present claims that have not changed for CLAIM_SECONDS."""
        now = self._clock()
        self._seen = {claim: self._seen.get(claim, now) for claim in claims}
        return [claim for claim, since in self._seen.items() if now - since >= CLAIM_SECONDS]

    def start_over(self) -> None:
        """Forget what was seen, as after an outage of the database in which nobody could renew a claim."""
        self._seen = {}


RUNNERS: "weakref.WeakSet[Runner]" = weakref.WeakSet()  # of this process; `compare.following` wakes them


class Runner:
    """Runs trials for ever, some at once, in one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._watch = ClaimWatch(clock)
        self._claim = str(uuid.uuid4())
        self._running: dict[asyncio.Task[None], Trial] = {}
        self._told: dict[int, float] = {}
        self._thread = DatabaseThread("comparisons")
        self._looked = 0.0  # when it last wanted to see the claims
        self._saw = 0.0  # when it last saw them
        self._has_work = True
        self._woken = asyncio.Event()
        RUNNERS.add(self)

    def wake(self) -> None:
        """Look now whether there is work. Call it in the runner's event loop."""
        self._woken.set()

    async def run(self) -> None:
        """Until canceled. What goes wrong with the database is told once in a row, and tried again."""
        told = False
        renewed = time.monotonic()
        try:
            while True:
                self._woken.clear()
                try:
                    await self._look_around()
                    found = 0 if gate.closed else await self._start_more()
                    if self._running and time.monotonic() - renewed > RENEW_SECONDS:
                        renewed = time.monotonic()
                        await self._thread.run(_renew, self._claim)
                    told = False
                except Exception as error:
                    found, self._has_work = 0, True
                    if not told:
                        log.exception("Comparisons cannot go on (%s); trying again twice a second.", error)
                        told = True
                if found and self._running:
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

    async def _look_around(self) -> None:
        """Take back what nobody renews, and note the end of what is done, whoever ran its last trial.

        Claims of a comparison that was paused are work, too: a server that held them may have died.
        """
        if time.monotonic() - self._looked < POLL_SECONDS:
            return
        self._looked = time.monotonic()
        if self._looked - self._saw > RENEW_SECONDS:
            self._watch.start_over()
        has_claims = await self._thread.run(_take_back, self._watch)
        self._saw = time.monotonic()
        running = await self._thread.run(_running)
        for comparison, has_trials in running:
            if not has_trials:
                await self._thread.run(finish_if_done, comparison)
        self._has_work = has_claims or bool(running)

    async def _start_more(self) -> int:
        """Claim what may run now, and start it. Returns how many are running."""
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
                await self._thread.run(record_run, plan, Outcome(RunStatus.FAILED, error=CHANGED))
            else:
                async with aclosing(execute(plan)) as happenings:
                    async for _ in happenings:
                        pass
        except ClaimLost:
            log.warning("Trial %d took so long that its claim was lost; it was claimed again.", trial.pk)
        except Refused:  # the server is about to end
            await self._thread.run(_give_back, trial.pk, self._claim)
        except Exception:
            log.exception("Trial %d broke.", trial.pk)
        await self._tell(trial.comparison_id)

    async def _tell(self, comparison: int) -> None:
        now = time.monotonic()
        if now - self._told.get(comparison, 0.0) >= TOLD_SECONDS:
            self._told[comparison] = now
            await events.tell_pages(events.COMPARISON_CHANGED, comparison)


def _take_back(watch: ClaimWatch) -> bool:
    """Let trials wait again whose server has died. Returns whether any trial was claimed."""
    running = Trial.objects.filter(state=TrialState.RUNNING)
    claims = list(running.order_by().values_list("claim", "not_before").distinct())
    for claim, not_before in watch.dead(claims):
        running.filter(claim=claim, not_before=not_before).update(
            state=TrialState.WAITING, claim="", not_before=timezone.now()
        )
    return bool(claims)


def _running() -> list[tuple[int, bool]]:
    """Return the running comparisons, and whether each has a trial that has not ended."""
    left = Trial.objects.filter(comparison=OuterRef("pk"), state__in=[TrialState.WAITING, TrialState.RUNNING])
    running = Comparison.objects.filter(state=ComparisonState.RUNNING)
    return list(running.values_list("pk", Exists(left)))


def _claim_some(claim: str, busy: Counter[int | None]) -> list[Trial]:
    """Claim the next trials of every running comparison, as many as each provider has room for."""
    now = timezone.now()
    arms: dict[int | None, list[Arm]] = {}
    running = Arm.objects.filter(comparison__state=ComparisonState.RUNNING).select_related("provider").defer("body")
    for arm in running:
        arms.setdefault(arm.provider_id, []).append(arm)
    wanted: list[int] = []
    waiting = Trial.objects.filter(~delayed(now), state=TrialState.WAITING)
    for provider_id, its_arms in arms.items():
        if (room := _calls_at_once(its_arms[0].provider) - busy[provider_id]) > 0:
            # Named by its comparisons, too, which have an index in the order of the trials.
            mine = waiting.filter(comparison__in={arm.comparison_id for arm in its_arms}, arm__in=its_arms)
            wanted += mine.order_by("comparison", "pk").values_list("pk", flat=True)[:room]
    if not wanted:
        return []
    # Unless another server was faster: a claimed trial waits no more.
    ends = now + timedelta(seconds=CLAIM_SECONDS)
    waiting.filter(pk__in=wanted).update(state=TrialState.RUNNING, claim=claim, not_before=ends)
    claimed = Trial.objects.filter(pk__in=wanted, state=TrialState.RUNNING, claim=claim, not_before=ends)
    # Many trials of few arms, whose texts are long: each is loaded once.
    arms_with = Arm.objects.select_related("template", "version", "provider").defer("version__body")
    related = claimed.select_related("input").prefetch_related(
        Prefetch("arm", arms_with), Prefetch("comparison", Comparison.objects.select_related("user"))
    )
    return list(related.order_by("comparison", "pk"))


def _calls_at_once(provider: Provider | None) -> int:
    if provider is None:
        return CALLS_AT_ONCE  # they fail at once
    if provider.kind_spec.embedded:
        return 1
    return min(CALLS_AT_ONCE, max(1, (provider.max_concurrent or CALLS_AT_ONCE * 2) // 2))


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
    return replace(provider_spec(provider), model=arm.provider_model)


def _plan(trial: Trial, spec: ProviderSpec | None, snapshot: Snapshot, claim: str) -> RunPlan:
    """One provider, no fallback: another one's answer would be counted as this arm's."""
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
    """End the trial in the transaction that keeps its run, or put it back when it was not the arm that failed."""
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("A trial ends in the transaction that keeps its run.")
    held = Trial.objects.filter(pk=trial.pk, claim=claim, state=TrialState.RUNNING)
    now = timezone.now()
    if run.status == RunStatus.CANCELED:
        ended = held.update(state=TrialState.WAITING, claim="", not_before=now)
    elif error_kind in NO_ROOM and trial.tries < MAX_TRIES:
        later = now + min(timedelta(seconds=2**trial.tries), LONGEST_DELAY)
        ended = held.update(state=TrialState.WAITING, claim="", not_before=later, tries=F("tries") + 1)
    elif run.status == RunStatus.SUCCEEDED:
        ended = held.update(state=TrialState.SUCCEEDED, run=run, finished_at=now, **_measured(run))
    else:
        ended = held.update(state=TrialState.FAILED, run=run, finished_at=now)
    if not ended:
        raise ClaimLost


def _measured(run: Run) -> dict[str, Any]:
    """Return what is counted of an answer, by the trial's fields.

    An answer need only have the words of its input where the operation keeps the subject.
    """
    spec = run.operation_spec
    alternatives = parse_alternatives(run.output, len(run.output)) if spec.offers_alternatives else []
    given = run.input if spec.keeps_subject else None
    fields = asdict(measure(given, run.output, alternatives=alternatives)) | {"answer_hash": run.answer_hash}
    return fields | ({"alternatives": min(len(alternatives), 32_767)} if spec.offers_alternatives else {})


@erases_with_runs
def _forget_answers(runs: QuerySet[Run], is_expiry: bool) -> None:
    """Take the trials of erased runs out of the votes: nobody can compare what is gone."""
    Trial.objects.filter(run__in=runs).update(answer_hash=None)
