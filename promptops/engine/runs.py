"""One run: the choice of the next provider, fallback, waiting, retry, hedging, and the end of the run.

`policies.py` declares what follows an error, `health.py` decides which providers may be called, `attempts.py` makes
the calls.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace

from promptops.engine.attempts import CLOSING_SECONDS, Candidate, Happening, RunningAttempt
from promptops.engine.contracts.repairs import repair_of
from promptops.engine.errors import LLMBusyError, LLMContractError, LLMProviderError
from promptops.engine.events import AttemptStarted, Delivery, HedgePolicy
from promptops.engine.health import HealthRegistry, Permit
from promptops.engine.policies import LARGER_LIMIT_FACTOR, RETRY_PAUSE_SECONDS, may_follow, policy_for
from promptops.engine.types import Attempt, LLMProvider, LLMRequest, LLMResponse


class Run:
    """The state of one run: the providers that it may still call, and the calls in progress."""

    def __init__(
        self,
        request: LLMRequest,
        providers: Sequence[LLMProvider],
        *,
        timeout_ms: int,
        delivery: Delivery,
        health: HealthRegistry | None,
        hedge: HedgePolicy | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._deadline = self._started + timeout_ms / 1000
        self._request = request
        # An answer is checked before anything of it is handed on.
        self.is_checked = request.contract is not None and request.contract.is_checked
        self._delivery: Delivery = "whole" if self.is_checked else delivery
        self._health = health or HealthRegistry()
        # In a registry of this run alone, providers with the same name must not share a key.
        self._waiting = [
            Candidate(provider, health.key(provider) if health else str(index))
            for index, provider in enumerate(providers)
        ]
        # Without a shared registry nothing would limit the retries of all runs together.
        self._may_retry = health is not None
        self._extra_call_made = False
        self._breach: tuple[Candidate, LLMContractError] | None = None
        self._repairs = False
        self._first = self._waiting[0]
        self._hedge = hedge
        self._hedge_timer: asyncio.TimerHandle | None = None
        self._attempts: list[RunningAttempt] = []
        self.running: list[RunningAttempt] = []
        self._error: LLMProviderError | None = None
        self.happened: asyncio.Queue[Happening] = asyncio.Queue()

    async def close(self) -> None:
        """Stop the calls in progress, and wait until their connections are closed."""
        if self._hedge_timer is not None:
            self._hedge_timer.cancel()
        for attempt in self.running:
            attempt.stop()
        self.running.clear()
        closing = [attempt for attempt in self._attempts if attempt.closing]
        if closing:
            await asyncio.wait({attempt.task for attempt in closing}, timeout=CLOSING_SECONDS)
        for attempt in closing:
            attempt.closing = False

    def records(self) -> tuple[Attempt, ...]:
        """Return the records of the attempts, in the order of their start."""
        return tuple(attempt.record() for attempt in self._attempts)

    # The next provider

    async def start_next(self) -> AttemptStarted:
        """Start the next provider that may be called. Waits for one if necessary."""
        began = self._loop.time()
        candidate, permit = await self._next()
        return self._start(candidate, permit, queued=self._loop.time() - began)

    async def _next(self) -> tuple[Candidate, Permit]:
        """Return the first provider that may be called. One behind an open breaker or a long cooldown comes last."""
        while True:
            for last_resort in (False, True):
                if admitted := self._admitted(last_resort=last_resort):
                    return admitted
                if awaited := self._awaited(last_resort=last_resort):
                    break
            else:
                raise self.final(self._error or self._busy())
            if admitted := await self._wait(awaited):
                return admitted
            if self._loop.time() >= self._deadline:
                raise self.final(self._error or self._busy())

    def _admitted(self, *, last_resort: bool = False) -> tuple[Candidate, Permit] | None:
        now = self._loop.time()
        for candidate in self._waiting:
            if candidate.paused_until is not None and (last_resort or now < candidate.paused_until):
                continue
            permit = self._health.admit(candidate.key, candidate.limit, last_resort=last_resort)
            if permit is not None:
                return candidate, permit
        return None

    def _awaited(self, *, last_resort: bool = False) -> dict[str, tuple[Candidate, float]]:
        """Return the candidates that may have their turn before the deadline, with the seconds until then."""
        left = self._deadline - self._loop.time()
        waiting = {each.key: (each, self._blocked_for(each, last_resort)) for each in self._waiting}
        return {key: (each, seconds) for key, (each, seconds) in waiting.items() if seconds < left}

    def _blocked_for(self, candidate: Candidate, last_resort: bool) -> float:
        if candidate.paused_until is None:
            return self._health.blocked_for(candidate.key, last_resort=last_resort)
        # A retry ignores neither an open breaker nor a cooldown.
        return max(candidate.paused_until - self._loop.time(), self._health.blocked_for(candidate.key))

    async def _wait(self, awaited: dict[str, tuple[Candidate, float]]) -> tuple[Candidate, Permit] | None:
        """Wait until a candidate has room, at most until the next cooldown or pause ends."""
        now = self._loop.time()
        left = self._deadline - now
        keys = [key for key, (each, _) in awaited.items() if each.paused_until is None or each.paused_until <= now]
        permit = await self._health.wait(keys, min([left, *(end for _, end in awaited.values() if end > 0)]))
        return (awaited[permit.key][0], permit) if permit else None

    def _busy(self) -> LLMBusyError:
        """Return the error of a run that could call no provider."""
        reasons = []
        for candidate in self._waiting:
            view = self._health.view(candidate.key)
            cooling = f"is cooling down for {math.ceil(view.cooldown_left_ms / 1000)} s"
            full = f"has {candidate.limit} of {candidate.limit} calls in progress"
            reasons.append(f"{candidate.provider.name} {cooling if view.cooldown_left_ms else full}")
        return LLMBusyError(f"No provider could be called within the deadline: {', '.join(reasons)}")

    # Attempts

    def _start(
        self, candidate: Candidate, permit: Permit, *, queued: float = 0.0, hedge: bool = False
    ) -> AttemptStarted:
        self._waiting.remove(candidate)
        others = sum(not self._health.blocked_for(other.key) for other in self._waiting)
        attempt = RunningAttempt(
            candidate,
            self._request,
            index=len(self._attempts),
            health=self._health,
            permit=permit,
            run_started=self._started,
            share=(self._deadline - self._loop.time()) / (1 + others),
            delivery=self._delivery,
            happened=self.happened,
            queued=queued,
            hedge=hedge,
            repair=self._repairs,
        )
        self._attempts.append(attempt)
        self.running.append(attempt)
        return AttemptStarted(attempt.index, attempt.name, attempt.model)

    def let_win(self, winner: RunningAttempt) -> None:
        """Make an attempt the winner, and stop the others."""
        winner.won = True
        if len(self.running) > 1:
            self._stop([attempt for attempt in self.running if attempt is not winner])

    def lose(self, attempt: RunningAttempt) -> None:
        """Drop a failed attempt, and every provider that may not answer after its error."""
        error = attempt.error()
        self._error = error
        self.running.remove(attempt)
        failed = attempt.candidate.provider
        self._waiting = [
            other for other in self._waiting if not attempt.handed_on and may_follow(error, failed, other.provider)
        ]
        self._stop([other for other in self.running if not may_follow(error, failed, other.candidate.provider)])
        if isinstance(error, LLMContractError):
            self._breach = attempt.candidate, error
        if self.goes_on() or attempt.handed_on:
            return
        if self._breach is not None and may_follow(error, failed, self._breach[0].provider):
            self._plan_repair(*self._breach)
        elif not self._extra_call_made:
            self._plan_retry(attempt.candidate, error)

    def _plan_repair(self, candidate: Candidate, breach: LLMContractError) -> None:
        """Plan the one call that sends a provider its wrong answer and what is wrong with it."""
        if self._repairs or self._request.contract is None:
            return
        self._repairs = self._extra_call_made = True
        self._request = repair_of(self._request, self._request.contract, breach)
        if breach.truncated and self._request.max_tokens:
            self._request = replace(self._request, max_tokens=self._request.max_tokens * LARGER_LIMIT_FACTOR)
        self._waiting = [candidate]

    def _plan_retry(self, candidate: Candidate, error: LLMProviderError) -> None:
        """Plan one more call of the same provider, if that may help after this error."""
        retry = policy_for(error).retry
        if retry == "larger_limit" and self._request.max_tokens:
            self._request = replace(self._request, max_tokens=self._request.max_tokens * LARGER_LIMIT_FACTOR)
        elif retry == "same_request" and self._may_retry:
            now = self._loop.time()
            blocked = max(RETRY_PAUSE_SECONDS, self._health.blocked_for(candidate.key))
            if blocked >= self._deadline - now or not self._health.spend_retry(candidate.key):
                return
            candidate.paused_until = now + RETRY_PAUSE_SECONDS
        else:
            return
        self._extra_call_made = True
        self._waiting = [candidate]

    def goes_on(self) -> bool:
        """Return whether another call is in progress, or can still be made."""
        return bool(self.running or self._awaited(last_resort=True))

    def _stop(self, attempts: list[RunningAttempt]) -> None:
        for attempt in attempts:
            attempt.stop()
        self.running = [attempt for attempt in self.running if attempt not in attempts]

    # Hedging

    def plan_hedge(self) -> None:
        """Count the run, and plan its hedge if it may have one."""
        if self._hedge is None or not self._waiting:
            self._health.count_run()
            return
        self._health.count_run(self._hedge.budget)
        delay_ms: float | None = self._hedge.delay_ms
        if delay_ms is None:
            delay_ms = self._health.p95_ms(self._attempts[0].candidate.key, streamed=self._attempts[0].streamed)
        if delay_ms is not None:
            when = self._loop.time() + delay_ms / 1000
            self._hedge_timer = self._loop.call_at(when, self.happened.put_nowait, (None, None))

    def start_hedge(self) -> AttemptStarted | None:
        """Start the next provider beside the first one, if the first is still silent and the budget allows it."""
        if len(self._attempts) > 1 or not self.running or self.running[0].has_text:
            return None
        admitted = self._admitted()
        if admitted is None:
            return None
        candidate, permit = admitted
        if not self._health.spend_hedge():
            self._health.canceled(permit)
            return None
        self._extra_call_made = True
        return self._start(candidate, permit, hedge=True)

    # The end

    def done(self, winner: RunningAttempt, response: LLMResponse) -> LLMResponse:
        """Return the winner's response with the attempts and the cost of the run."""
        attempts = self.records()
        costs = [attempt.cost for attempt in attempts if attempt.cost is not None]
        return replace(
            response,
            fallback_used=response.fallback_used or winner.candidate is not self._first,
            attempts=attempts,
            cost=sum(costs) if costs else None,
            cost_estimated=any(attempt.cost_estimated for attempt in attempts),
        )

    def final(self, error: LLMProviderError) -> LLMProviderError:
        """Return `error` with the attempts of the run."""
        error.attempts = self.records()
        return error
