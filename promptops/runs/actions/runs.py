"""Running an operation: the snapshot's chain answers, events stream to the caller, the run is recorded at its end.

The safety filter judges input and output. In shadow its verdicts are recorded with the run and change nothing; where
it is enforced, the input is judged before anybody is asked, and no text leaves here before the output is judged.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from promptops.compare.models import Trial
from promptops.engine.chain import AttemptStarted, ChainEvent, Delivery, HedgePolicy, RunDone, TextChunk, run_chain
from promptops.engine.drills import Fault, faulty
from promptops.engine.enhancer import build_request
from promptops.engine.errors import LLMProviderError
from promptops.engine.providers import build_provider
from promptops.engine.safety.guard import MAX_BYTES, SafetyLayer, SafetyVerdict, UnjudgedCause, VerdictDecision
from promptops.engine.snapshot import ProviderSpec, SafetySpec, Snapshot
from promptops.engine.types import Attempt as EngineAttempt
from promptops.engine.types import LLMProvider, LLMRequest, LLMResponse
from promptops.ledger import audit, registry
from promptops.ledger.audit import SYSTEM, Actor
from promptops.ledger.errors import Refused
from promptops.ledger.models import LiveConfiguration
from promptops.ledger.registry import Action
from promptops.live import snapshots as live
from promptops.people.models import User
from promptops.platform import events
from promptops.platform.draining import gate
from promptops.platform.threads import DatabaseThread
from promptops.prompts.content import Content
from promptops.prompts.models import Template, Version
from promptops.runs.actions.recording import PAGE_WAITS_SECONDS, NotRecorded, recorder
from promptops.runs.enums import RunSource, RunStatus
from promptops.runs.models import Attempt, Run
from promptops.safety.enums import SafetyMode, SafetyQueue, SafetySide
from promptops.safety.models import SafetyCheck, SafetyExample

registry.noun("run", "Runs")
registry.object_kind("run", "Run", url=lambda entry: reverse("run", args=[entry.object_id]))
registry.register(
    Action(
        "run.drilled",
        "{actor} ran a failover drill: {after[drill]}",
        when="somebody ran a failover drill; it counts in no statistic",
        object="run",
    ),
    Action("run.erased", "{actor} erased the text of {object}", when="the text of a run was erased", object="run"),
    Action(
        "run.expired",
        "{actor} erased the texts of runs older than {after[days]} days ({after[runs]} in all)",
        when="texts older than the retention setting were erased",
    ),
)

log = logging.getLogger(__name__)

MAX_INPUT_CHARACTERS = 16_000
MAX_COUNT = 10
BORDERLINE = 0.75
"""A text that passes with a score of at least this share of its category's threshold is worth a person's look."""


@dataclass(frozen=True)
class Drill:
    """A fault to put into one provider, to watch the chain cope."""

    provider: str
    fault: Fault

    def into(self, provider: LLMProvider) -> LLMProvider:
        """The provider, with the fault in it if it is the one."""
        return faulty(provider, self.fault) if provider.name == self.provider else provider

    def __str__(self) -> str:
        return f"{self.fault} in {self.provider}"


@dataclass(frozen=True)
class RunPlan:
    """Everything that one run is made of, fixed before it begins."""

    operation: str
    input: str
    content: Content
    providers: tuple[ProviderSpec, ...]
    snapshot: Snapshot
    source: RunSource
    by: User | None = None
    template: Template | None = None
    version: Version | None = None  # None: a draft, whose text the run keeps
    count: int | None = None
    drill: Drill | None = None
    timeout_ms: int | None = None  # None: the snapshot's
    recorded: Callable[[Run, str], None] | None = None
    """Called with the run and the kind of its error ("" for none) in the transaction that keeps it."""
    delivery: Delivery = "whole"  # "stream": somebody reads along
    thread: DatabaseThread | None = None  # where it is recorded; None: in that of all runs

    @property
    def temperature(self) -> float:
        given = self.content.temperature
        return self.snapshot.settings.temperature if given is None else given

    @property
    def max_tokens(self) -> int:
        return self.content.max_tokens or self.snapshot.settings.max_tokens

    def hedge(self) -> HedgePolicy | None:
        """When the next provider is started beside a slow one. Never in a drill, which shows what one fault does."""
        settings = self.snapshot.settings.hedge_after_ms
        if self.drill or self.operation not in settings:
            return None
        return HedgePolicy(delay_ms=settings[self.operation])

    def request(self) -> LLMRequest:
        """What the chain is asked. A provider's own model wins; the template's is for providers that have none."""
        return build_request(
            self.operation,
            self.input,
            system_prompt=self.snapshot.filled(self.operation, self.content.body),
            model=self.content.model,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            count=self.count,
        )


@dataclass(frozen=True)
class TextHeld:
    """Text has begun to come and is held until the safety filter has judged all of it."""

    provider: str


@dataclass(frozen=True)
class SafetyChecked:
    """The verdict on one side of a run. `blocked`: the text is withheld for it."""

    side: SafetySide
    verdict: SafetyVerdict
    blocked: bool


@dataclass
class Outcome:
    """How a run ended; filled in while it goes on. Until then it counts as canceled."""

    status: RunStatus = RunStatus.CANCELED
    response: LLMResponse | None = None
    error: str = ""
    error_kind: str = ""
    latency_ms: float = 0.0
    attempts: list[EngineAttempt] = field(default_factory=list)
    checks: list[SafetyChecked] = field(default_factory=list)
    at: datetime | None = None  # when it ended
    raw_masked: bool = False  # as long as it is not judged, too

    @property
    def raw(self) -> str:
        """Return the answer as the model wrote it, "" where that is the answer as read but for blank ends."""
        if self.response is None or self.response.raw.strip() == self.response.content.strip():
            return ""
        return self.response.raw


@dataclass(frozen=True)
class RunRecorded:
    """The last event of a run that ended by itself: its id, and the error when it failed or was blocked.

    `attempts` are those that were made, also where the answer is withheld. `raw` is the answer as the model wrote it,
    where that differs; `raw_masked` says that pages mask it, and then `raw` is "". While the database is
    unavailable `run_id` is 0 and `recording` becomes the id later; it raises NotRecorded where the run was given up.
    """

    run_id: int
    response: LLMResponse | None
    error: str
    latency_ms: float
    status: RunStatus
    checks: tuple[SafetyChecked, ...] = ()
    attempts: tuple[EngineAttempt, ...] = ()
    raw: str = ""
    raw_masked: bool = False
    recording: "asyncio.Task[int] | None" = None

    @property
    def blocked(self) -> bool:
        return self.status == RunStatus.BLOCKED


RunEvent: TypeAlias = ChainEvent | TextHeld | SafetyChecked | RunRecorded


class _Blocked(Exception):
    """The safety filter withholds a text; the message is a sentence for operators that does not quote it."""


def clean_input(text: str) -> str:
    """What a viewer would send, or ValidationError: not blank, at most 16,000 characters, no NUL."""
    if not text.strip():
        raise ValidationError("Type an input first: what would a viewer ask for?")
    if len(text) > MAX_INPUT_CHARACTERS:
        raise ValidationError(f"The input is {len(text):,} characters; at most {MAX_INPUT_CHARACTERS:,} are allowed.")
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValidationError("The input holds a NUL character or half a character. Type it again.")
    return text


async def execute(plan: RunPlan) -> AsyncGenerator[RunEvent, None]:
    """Run the plan: yields the chain's events and, last, RunRecorded. Read it inside `contextlib.aclosing`.

    Where the safety filter is enforced, the text comes in one piece once it was judged, or not at all: then the run
    ends as blocked, and RunRecorded has no response.

    A provider error ends the run as failed, in RunRecorded rather than as an exception. When the caller goes away
    (task canceled, generator closed) the run is recorded as canceled, with the attempts so far. Raises Refused when
    the server is about to end.
    """
    if gate.closed:
        raise Refused("The server is being restarted. Try again in a moment.")
    with gate.passing(asyncio.current_task()):
        async with aclosing(_execute(plan)) as happenings:
            async for event in happenings:
                yield event


async def _execute(plan: RunPlan) -> AsyncGenerator[RunEvent, None]:
    began = time.monotonic()
    outcome = Outcome()
    run_id = 0
    try:
        try:
            async with aclosing(_answer(plan, outcome)) as happenings:
                async for event in happenings:
                    yield event
            outcome.status = RunStatus.SUCCEEDED
        except _Blocked as stopped:
            outcome.status, outcome.error, outcome.error_kind = RunStatus.BLOCKED, str(stopped), "blocked"
        except LLMProviderError as failure:
            outcome.status, outcome.error, outcome.error_kind = RunStatus.FAILED, str(failure), failure.kind
        except Exception:
            outcome.status = RunStatus.FAILED
            outcome.error = "Something broke inside PromptOps; the server's log says what."
            raise
    finally:
        outcome.latency_ms = (time.monotonic() - began) * 1000
        outcome.attempts = list(outcome.attempts)  # the chain has the one before, and may still write to it
        outcome.at = timezone.now()
        # Until it is judged, which may take longer than the page waits.
        outcome.raw_masked = bool(outcome.raw) and plan.snapshot.safety.mode != SafetyMode.OFF
        recording = asyncio.create_task(_record(plan, outcome))
        # Shielded, so that a run is recorded even while its caller is being canceled. A trial waits to the end.
        wait = None if plan.thread else PAGE_WAITS_SECONDS
        try:
            await asyncio.shield(asyncio.ensure_future(asyncio.wait({recording}, timeout=wait)))
        finally:
            if not recording.done():  # otherwise the caller hears why it failed
                recording.add_done_callback(recorder.log_failure)
        with suppress(NotRecorded):
            run_id = recording.result() if recording.done() else 0
    answer = None if outcome.status == RunStatus.BLOCKED else outcome.response
    yield RunRecorded(
        run_id,
        answer,
        outcome.error,
        outcome.latency_ms,
        outcome.status,
        tuple(outcome.checks),
        tuple(outcome.attempts),
        raw="" if answer is None or outcome.raw_masked else outcome.raw,
        raw_masked=answer is not None and outcome.raw_masked,
        recording=None if run_id else recording,
    )


async def _answer(plan: RunPlan, outcome: Outcome) -> AsyncGenerator[ChainEvent | TextHeld | SafetyChecked, None]:
    """What happens until there is an answer, which goes into `outcome`. Raises `_Blocked` and `LLMProviderError`."""
    enforced = plan.snapshot.safety.mode == SafetyMode.ENFORCE
    if enforced:
        yield await _judge(plan, SafetySide.INPUT, plan.input, outcome.checks)
        _raise_if_blocked(plan, outcome.checks)
    asked, held = "", False
    async with aclosing(_chain(plan, outcome.attempts)) as happenings:
        async for event in happenings:
            if isinstance(event, RunDone):
                outcome.response = event.response
                if enforced:
                    yield await _judge(plan, SafetySide.OUTPUT, event.response.content, outcome.checks)
                    _raise_if_blocked(plan, outcome.checks)
                    yield TextChunk(event.response.content)
            elif isinstance(event, AttemptStarted):
                asked = event.provider
            elif enforced and isinstance(event, TextChunk):
                if not held:
                    held = True
                    yield TextHeld(asked)
                continue
            yield event


def _chain(plan: RunPlan, attempts: list[EngineAttempt]) -> AsyncGenerator[ChainEvent, None]:
    """The chain that the plan asks; what it tries is added to `attempts`."""
    if not plan.providers:
        raise LLMProviderError("There is no provider to ask. Turn one on, or add one, on the Providers page.")
    providers = [build_provider(spec) for spec in plan.providers]
    health = live.health
    if plan.drill:  # it leaves no mark there, and calls nobody who is to be left alone
        providers = [plan.drill.into(provider) for provider in providers]
        health = health.copy()
        health.forget(plan.drill.provider)
    timeout_ms = plan.timeout_ms or plan.snapshot.settings.timeout_ms
    return run_chain(
        plan.request(),
        providers,
        timeout_ms=timeout_ms,
        delivery=plan.delivery,
        attempts=attempts,
        health=health,
        hedge=plan.hedge(),
    )


async def _record(plan: RunPlan, outcome: Outcome) -> int:
    """Keep the run. It passes the gate by itself, since its caller may be gone before it is done."""
    with gate.passing():
        await _judge_the_rest(plan, outcome)
        return await recorder.record(
            lambda failed: (failed and _recorded_run(outcome)) or record_run(plan, outcome),
            size=_size(plan, outcome),
            thread=plan.thread,
        )


async def _judge_the_rest(plan: RunPlan, outcome: Outcome) -> None:
    """Judge what nobody had to wait for: all in shadow, the input of a run given up at once."""
    if plan.snapshot.safety.mode != SafetyMode.OFF:
        seen = {check.side for check in outcome.checks}
        if SafetySide.INPUT not in seen:
            await _judge(plan, SafetySide.INPUT, plan.input, outcome.checks)
        if outcome.response is not None and SafetySide.OUTPUT not in seen:
            await _judge(plan, SafetySide.OUTPUT, outcome.response.content, outcome.checks)
        await _judge_raw(plan, outcome)


async def _judge_raw(plan: RunPlan, outcome: Outcome) -> None:
    """Judge the answer as written, which pages show beside the one that is used.

    It may say more than the answer as read, so it can be masked where that is not. It blocks no run: nobody gets it.
    """
    if any(_masks(check) for check in outcome.checks):
        outcome.raw_masked = bool(outcome.raw)
    elif outcome.raw:
        outcome.raw_masked = _masks(await _judge(plan, SafetySide.OUTPUT, outcome.raw, []))


async def _judge(plan: RunPlan, side: SafetySide, text: str, checks: list[SafetyChecked]) -> SafetyChecked:
    """The verdict on a text of the run, added to `checks`; never raises."""
    try:
        verdict = await plan.snapshot.safety.guard.check_async(text)
    except Exception as exc:  # as when the process is about to end and takes no more work
        reason = f"The safety filter could not be asked: {type(exc).__name__}"
        verdict = SafetyVerdict(VerdictDecision.UNAVAILABLE, reason=reason, cause=UnjudgedCause.OTHER)
    safety = plan.snapshot.safety
    checked = SafetyChecked(side, verdict, safety.mode == SafetyMode.ENFORCE and safety.stops(verdict))
    checks.append(checked)
    return checked


def _raise_if_blocked(plan: RunPlan, checks: list[SafetyChecked]) -> None:
    if checks[-1].blocked:
        raise _Blocked(_blocked_sentence(checks[-1], plan.snapshot.safety))


def _blocked_sentence(check: SafetyChecked, safety: SafetySpec) -> str:
    """Why the text is withheld, for operators. It quotes operators' terms, never what a person or a model wrote."""
    verdict, side = check.verdict, check.side.value
    if verdict.decision is VerdictDecision.UNAVAILABLE:
        return _unjudged_sentence(verdict, side)
    if verdict.decision is VerdictDecision.TOO_LONG:
        return f"The safety filter refused the {side} unread: it is longer than {MAX_BYTES:,} bytes. Shorten it."
    category = verdict.category.replace("_", "-") if verdict.category else "harmful"
    if verdict.layer is SafetyLayer.DENY_TERMS:
        return f'The safety filter blocked the {side}: it has the deny term "{" ".join(verdict.words)}" ({category}).'
    if verdict.category is None:
        return f"The safety filter blocked the {side}."
    score, threshold = verdict.scores[verdict.category], safety.policy.thresholds[verdict.category]
    return f"The safety filter blocked the {side}: {category} ({score:.2f}, blocked from {threshold:.2f} on)."


def _unjudged_sentence(verdict: SafetyVerdict, side: str) -> str:
    """Why a text is withheld that nobody found harmful: the operators chose so."""
    if verdict.cause is UnjudgedCause.LANGUAGE:
        language = f" (mostly {verdict.language})" if verdict.language else ""
        return (
            f"Blocked: the safety filter doesn't know enough of these words to judge the {side}{language}. "
            "The settings block texts in languages that it doesn't know; releasers can change that on the Safety page."
        )
    reason = (verdict.reason or "").removesuffix(".")
    return (
        f"Blocked: the safety filter could not judge the {side}. {reason}. "
        "The settings block texts while the filter is down; releasers can change that on the Safety page."
    )


def _size(plan: RunPlan, outcome: Outcome) -> int:
    """The bytes of a run's texts."""
    texts = [plan.input, plan.content.body, outcome.error, *(attempt.message or "" for attempt in outcome.attempts)]
    if outcome.response:
        texts += [outcome.response.content, outcome.response.reasoning or "", outcome.response.raw]
    return sum(len(text.encode(errors="replace")) for text in texts)


def _recorded_run(outcome: Outcome) -> int | None:
    """The id of the run that ended at exactly this moment and took exactly so long, or None.

    A connection may break after the commit and before the answer to it; the run is not recorded a second time then.
    """
    if outcome.at is None:
        return None
    runs = Run.objects.filter(at=outcome.at, latency_ms=outcome.latency_ms, status=outcome.status)
    return runs.values_list("pk", flat=True).first()


@transaction.atomic
def record_run(plan: RunPlan, outcome: Outcome) -> int:
    """Keep a run, its attempts and its verdicts, and tell open pages at commit. Returns the run's id."""
    run = _run(plan, outcome)
    run.save()
    if plan.drill and plan.by:
        by = Actor.person(plan.by)
        audit.record("run.drilled", by=by, object=run, object_name=str(run), after={"drill": str(plan.drill)})
    Attempt.objects.bulk_create(
        _attempt(run, position, attempt) for position, attempt in enumerate(outcome.attempts, start=1)
    )
    SafetyCheck.objects.bulk_create(_kept(run, check, plan.snapshot.safety) for check in outcome.checks)
    if plan.recorded:
        plan.recorded(run, outcome.error_kind)
    if plan.source != RunSource.COMPARISON:  # hundreds a second; pages are told of the comparison instead
        events.broadcast_on_commit(events.RUN_RECORDED, run.pk)
    return run.pk


def _run(plan: RunPlan, outcome: Outcome) -> Run:
    masked = {check.side for check in outcome.checks if _masks(check)}
    response, attempts = outcome.response, outcome.attempts
    return Run(
        at=outcome.at or timezone.now(),
        source=plan.source,
        operation=plan.operation,
        user=plan.by,
        template=plan.template,
        version=plan.version,
        draft_body="" if plan.version else plan.content.body,
        temperature=plan.temperature,
        max_tokens=plan.max_tokens,
        count=plan.count,
        revision=plan.snapshot.revision,
        input=plan.input,
        output=response.content if response else "",
        raw=outcome.raw,
        status=outcome.status,
        error=outcome.error,
        provider=response.provider if response else "",
        model=response.model if response else "",
        fallback_used=response.fallback_used if response else False,
        latency_ms=outcome.latency_ms,
        truncated=response.truncated if response else False,
        cost=_total_cost(attempts),
        cost_estimated=any(attempt.cost_estimated for attempt in attempts),
        drill=str(plan.drill or "")[:80],
        input_masked=SafetySide.INPUT in masked,
        # An answer to a harmful input repeats it.
        output_masked=bool(masked and response),
        raw_masked=outcome.raw_masked,
    )


def _attempt(run: Run, position: int, attempt: EngineAttempt) -> Attempt:
    return Attempt(
        run=run,
        position=position,
        provider=attempt.provider,
        model=attempt.model or "",
        outcome=attempt.outcome,
        error_kind=attempt.error_kind or "",
        message=attempt.message or "",
        started_ms=attempt.started_ms,
        first_text_ms=attempt.first_text_ms,
        latency_ms=attempt.latency_ms,
        input_tokens=attempt.usage.input_tokens if attempt.usage else None,
        output_tokens=attempt.usage.output_tokens if attempt.usage else None,
        cached_tokens=attempt.usage.cached_tokens if attempt.usage else None,
        reasoning_tokens=attempt.usage.reasoning_tokens if attempt.usage else None,
        usage_estimated=attempt.usage_estimated,
        cost=attempt.cost,
        cost_estimated=attempt.cost_estimated,
        queued_ms=attempt.queued_ms,
        connect_ms=attempt.connect_ms,
        answered_model=(attempt.answered_model or "")[:200],
        finish_reason=(attempt.finish_reason or "")[:40],
        truncated=attempt.truncated,
        hedge=attempt.hedge,
        status=attempt.status,
    )


def _masks(check: SafetyChecked) -> bool:
    """Return whether pages mask the text: it is harmful, or an answer was withheld.

    An input that was only not judged stays readable: a mask would say that it is harmful.
    """
    if check.verdict.decision is VerdictDecision.UNAVAILABLE and check.side is SafetySide.INPUT:
        return False
    return check.verdict.decision is VerdictDecision.BLOCK or check.blocked


def _kept(run: Run, check: SafetyChecked, safety: SafetySpec) -> SafetyCheck:
    verdict = check.verdict
    thresholds = safety.policy.thresholds
    shares = [score / thresholds[name] for name, score in verdict.scores.items() if thresholds.get(name)]
    share = max(shares, default=None)
    queue = ""
    if verdict.decision is VerdictDecision.BLOCK:
        queue = SafetyQueue.BLOCKED
    elif verdict.decision is VerdictDecision.ALLOW and share is not None and share >= BORDERLINE:
        queue = SafetyQueue.BORDERLINE
    return SafetyCheck(
        run=run,
        side=check.side,
        decision=verdict.decision.value,
        layer=verdict.layer.value if verdict.layer else "",
        category=verdict.category.value if verdict.category else "",
        scores={name.value: round(score, 4) for name, score in verdict.scores.items()},
        score=share,
        cause=verdict.cause.value if verdict.cause else "",
        language=verdict.language,
        words=list(verdict.words),
        window=verdict.window if verdict.category else "",
        reason=verdict.reason or "",
        model_id=safety.model_id,
        mode=safety.mode,
        blocked=check.blocked,
        at=run.at,
        queue=queue,
    )


def _total_cost(attempts: list[EngineAttempt]) -> float | None:
    costs = [attempt.cost for attempt in attempts if attempt.cost is not None]
    return sum(costs) if costs else None


@transaction.atomic
def erase(run: Run, *, by: Actor) -> None:
    """Blank everything that a person typed or a model answered; the figures stay."""
    if _erase(Run.objects.filter(pk=run.pk)):
        SafetyExample.objects.filter(run=run).delete()
        audit.record("run.erased", by=by, object=run)
        events.broadcast_on_commit(events.RUN_ERASED, run.pk)


@transaction.atomic
def erase_expired(*, by: Actor = SYSTEM) -> int:
    """Erase the text of runs older than the retention setting; returns how many."""
    days = LiveConfiguration.objects.values_list("run_retention_days", flat=True).get(pk=1)
    # What a comparison asked is the operators' own, and kept with the comparison; a single run can still be erased.
    old = Run.objects.filter(at__lt=timezone.now() - timedelta(days=days)).exclude(source=RunSource.COMPARISON)
    erased = _erase(old)
    if erased:
        audit.record("run.expired", by=by, object_name="runs", after={"runs": erased, "days": days})
        events.broadcast_on_commit(events.RUN_ERASED, 0)
    return erased


def _erase(runs: QuerySet[Run]) -> int:
    now = timezone.now()
    # Of two servers that do this at once, each counts only the runs that it erased itself.
    erased = runs.filter(erased_at=None).update(input="", output="", raw="", draft_body="", error="", erased_at=now)
    # A provider's error may quote the prompt, so messages go too.
    Attempt.objects.filter(run__in=runs.filter(erased_at=now)).update(message="")
    # So do the words that a verdict names.
    quoting = SafetyCheck.objects.filter(run__in=runs.filter(erased_at=now))
    quoting.update(words=[], window="", reason="", report_note="")
    # What was erased is put to no vote.
    Trial.objects.filter(run__in=runs.filter(erased_at=now)).update(answer_hash=None)
    return erased
