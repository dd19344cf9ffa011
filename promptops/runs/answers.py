"""The end of a run as a card of "Try it" shows it, whether the run has just ended or was recorded before.

Reading recorded runs belongs to `runs.queries.answers`, sending cards to a page to `runs.socket`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from django.utils import timezone
from django.utils.safestring import SafeString

from promptops.engine.errors import LLMContractError
from promptops.engine.judging import masks
from promptops.engine.operations import OperationSpec
from promptops.engine.rewrite import parse_alternatives
from promptops.engine.types import Attempt as EngineAttempt
from promptops.engine.types import LLMResponse
from promptops.runs.enums import RunStatus, SafetySide
from promptops.runs.models import Run
from promptops.runs.plans import RunPlan, RunRecorded
from promptops.runs.queries.runs import with_retries
from promptops.runs.trees import read_tree, tree_of
from promptops.runs.written import pieces
from promptops.texts.diffs import MAX_STEPS, Budget, Piece, marked
from promptops.texts.json_lines import indented

UNLIKE = 0.7
"""The share of new words from which on an answer counts as another one."""

STATES = {
    RunStatus.SUCCEEDED: "done",
    RunStatus.BLOCKED: "blocked",
    RunStatus.UNCHANGED: "unchanged",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELED: "canceled",
}


@dataclass(frozen=True)
class Ran:
    """The text that a run used, such as "Draft" or "v12", and its input.

    `turn` is its place among runs of the same text, such as "2 of 3". `provider` is "" for the whole chain.
    """

    text: str
    input: str
    turn: str = ""
    is_live: bool = False
    provider: str = ""

    def __str__(self) -> str:
        return f"{self.text}{' (live)' if self.is_live else ''}{f', {self.turn}' if self.turn else ''}"


@dataclass(frozen=True)
class Base:
    """An answer that others are compared with; `name` is a noun phrase such as "run 12".

    `run_id` is 0 while the run is not recorded yet.
    """

    name: str
    text: str
    run_id: int = 0


@dataclass(frozen=True)
class Check:
    """The safety filter's verdict on one side of a run. `reason` is for a text that was not judged."""

    side: str
    decision: str
    blocked: bool
    category: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The end of a run. `state` is done, blocked, unchanged, failed, canceled or erased.

    Tokens and cost (USD) are those of all attempts, None where they are unknown. `why` is what was wrong with the first
    answer that broke the contract. `text` is "" while `is_masked`.
    """

    state: str
    ran: Ran
    at: datetime
    text: str = ""
    tree: SafeString | str = ""
    alternatives: Sequence[str] = ()
    count: int | None = None
    written: Sequence[tuple[str, bool]] = ()
    written_masked: bool = False
    is_masked: bool = False
    is_input_masked: bool = False
    error: str = ""
    was_cut: bool = False
    provider: str = ""
    model: str = ""
    fallback_used: bool = False
    truncated: bool = False
    max_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    are_tokens_estimated: bool = False
    cost: float | None = None
    cost_estimated: bool = False
    latency_ms: float | None = None
    calls: Sequence[tuple[Any, bool]] = ()
    contract: str = ""
    why: str = ""
    checks: Sequence[Check] = ()
    drill: str = ""
    run_id: int = 0
    unrecorded: str = ""
    base: Base | None = None

    @property
    def unjudged(self) -> bool:
        """Return whether the filter blocked a text because it could not judge it."""
        return bool(self.checks) and self.checks[-1].decision == "unavailable"

    @property
    def rough(self) -> str:
        """Return the sign before tokens that are an estimate."""
        return "~" if self.are_tokens_estimated else ""

    @property
    def lines(self) -> str:
        """Return the text as its differences are shown: JSON with one value a line."""
        return indented(self.text) if self.tree else self.text

    @property
    def base_lines(self) -> str:
        return "" if self.base is None else indented(self.base.text) if self.tree else self.base.text

    @property
    def is_same(self) -> bool:
        """Return whether the base has the same words."""
        return self.base is not None and self.lines.split() == self.base_lines.split()

    @cached_property
    def marked_pieces(self) -> tuple[Piece, ...]:
        """Return the text in pieces that mark the words that the base does not have."""
        return marked(self.base.text, self.text, Budget(MAX_STEPS)) if self.base else ()

    @property
    def is_unlike(self) -> bool:
        """Return whether most of the text is not in the base, so that marks would only be in the way."""
        new = sum(len(piece.text) for piece in self.marked_pieces if piece.kind == "insert")
        return new > UNLIKE * len(self.text)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Return the text in pieces as the card shows it, with marks or without."""
        return (Piece("equal", self.text),) if self.base is None or self.is_unlike else self.marked_pieces


def against(answer: Answer, base: Base | None) -> Answer:
    """Return the answer with what differs from `base`; the same answer if there is no text to compare."""
    return replace(answer, base=base) if base and base.text and answer.text else answer


def failed(ran: Ran, error: str) -> Answer:
    """Return the end of a run that could not be executed at all."""
    return Answer(state="failed", ran=ran, at=timezone.now(), error=error)


def canceled(ran: Ran) -> Answer:
    """Return the end of a run that a person canceled."""
    return Answer(state="canceled", ran=ran, at=timezone.now())


def ended(plan: RunPlan, ran: Ran, event: RunRecorded, *, has_streamed: bool) -> Answer:
    """Return the end of a run that has just ended."""
    response, attempts = event.response, event.attempts
    alternatives = _alternatives(plan.spec.count_or_default(plan.count), response)
    facts: dict[str, Any] = {}
    if response is not None:
        facts = {
            "text": "\n".join(alternatives) or response.content,
            "tree": tree_of(response.data),
            "written": [] if event.raw_masked else pieces(response.content, event.raw, alternatives),
            "provider": response.provider,
            "model": response.model or "",
            "fallback_used": response.fallback_used,
            "truncated": response.truncated,
        }
    costs = [attempt.cost for attempt in attempts if attempt.cost is not None]
    return Answer(
        state=STATES[event.status],
        ran=ran,
        at=timezone.now(),
        alternatives=alternatives,
        count=plan.count,
        written_masked=event.raw_masked,
        is_input_masked=any(check.side == SafetySide.INPUT and masks(check) for check in event.checks),
        error=event.error,
        was_cut=has_streamed and response is None,
        max_tokens=plan.max_tokens,
        input_tokens=_total(attempt.usage.input_tokens if attempt.usage else None for attempt in attempts),
        output_tokens=_total(attempt.usage.output_tokens if attempt.usage else None for attempt in attempts),
        are_tokens_estimated=any(attempt.usage_estimated for attempt in attempts),
        cost=sum(costs) if costs else None,
        cost_estimated=any(attempt.cost_estimated for attempt in attempts),
        latency_ms=event.latency_ms,
        calls=with_retries(attempts),
        contract=plan.contract_outcome(attempts) or "",
        why=_why(attempts),
        checks=[
            Check(
                SafetySide(check.side).label,
                check.verdict.decision.value,
                check.blocked,
                check.verdict.category or "",
                check.verdict.reason or "",
            )
            for check in event.checks
        ],
        drill=str(plan.drill or ""),
        run_id=event.run_id,
        unrecorded=unrecorded_id(event.recording),
        **facts,
    )


def stored(run: Run, spec: OperationSpec) -> Answer:
    """Return the end of a recorded run, read by `runs.queries.answers`. Masked and erased texts are left out."""
    attempts = list(run.attempts.all())
    is_masked = run.output_masked or (run.input_masked and not run.output)
    count = spec.count_or_default(run.count)
    has_text = bool(run.output) and not is_masked
    alternatives = parse_alternatives(run.output, count) if count is not None and has_text else []
    text = "\n".join(alternatives) or run.output
    is_live = run.version is not None and run.template is not None and run.template.live_version_id == run.version_id
    return Answer(
        state="erased" if run.erased_at else STATES[RunStatus(run.status)],
        ran=Ran(
            f"v{run.version.number}" if run.version else "Draft" if run.draft_body else "Built in",
            "" if run.input_masked else run.input,
            is_live=is_live,
        ),
        at=run.at,
        text=text if has_text else "",
        tree=read_tree(run.output) if spec.answer == "json" and has_text else "",
        alternatives=alternatives,
        count=run.count,
        written=pieces(run.output, run.raw, alternatives) if has_text and not run.raw_masked else [],
        written_masked=run.raw_masked and not is_masked,
        is_masked=is_masked,
        is_input_masked=run.input_masked,
        # A provider's error may quote the input; the filter's does not.
        error="" if run.input_masked and run.status != RunStatus.BLOCKED else run.error,
        provider=run.provider,
        model=run.model,
        fallback_used=run.fallback_used,
        truncated=run.truncated,
        max_tokens=run.max_tokens,
        input_tokens=_total(attempt.input_tokens for attempt in attempts),
        output_tokens=_total(attempt.output_tokens for attempt in attempts),
        are_tokens_estimated=any(attempt.usage_estimated for attempt in attempts),
        cost=run.cost,
        cost_estimated=run.cost_estimated,
        latency_ms=run.latency_ms,
        calls=[] if run.input_masked else with_retries(attempts),
        contract=run.contract or "",
        why="" if run.input_masked or run.output_masked else _why(attempts),
        checks=[
            Check(check.get_side_display(), check.decision, check.blocked, check.category, check.reason)
            for check in run.safety_checks.all()
        ],
        drill=run.drill,
        run_id=run.pk,
    )


def unrecorded_id(recording: "asyncio.Task[int] | None") -> str:
    """Return the id of the element that shows that a run is not recorded yet; "" if it is recorded."""
    return f"unrecorded-{recording.get_name()}" if recording else ""


def _alternatives(count: int | None, response: LLMResponse | None) -> list[str]:
    return [] if response is None or count is None else parse_alternatives(response.content, count)


def _total(counts: Any) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _why(attempts: Sequence[EngineAttempt] | Sequence[Any]) -> str:
    kind = LLMContractError.kind
    return next((attempt.message or "" for attempt in attempts if attempt.error_kind == kind), "")
