"""Runs on an open page: the "Try it" panel, the smoke run and each provider's test, streamed into the page.

Messages become plans in `runs.previews`; plans are executed in `runs.actions.execution`.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from typing import Any

from django.core.exceptions import ValidationError
from django.template.loader import render_to_string

from promptops.engine.chain import AttemptStarted, TextChunk
from promptops.engine.judged_runs import TextHeld
from promptops.engine.rewrite import parse_alternatives
from promptops.engine.types import LLMResponse
from promptops.ledger.errors import Refused
from promptops.live import snapshots as live
from promptops.people.enums import Permission
from promptops.people.models import User
from promptops.platform import events
from promptops.runs import previews
from promptops.runs.actions.execution import execute
from promptops.runs.actions.recording import recorder
from promptops.runs.plans import RunPlan, RunRecorded
from promptops.runs.queries.runs import with_retries
from promptops.runs.trees import tree_of
from promptops.runs.written import pieces
from promptops.web.socket import PagePart

log = logging.getLogger(__name__)

MAX_RUNS = 8  # in progress at once, of one person in this process
FAILED = "Something went wrong on the server; its log has the details."
running: Counter[int] = Counter()  # by user id: runs in progress


class PageRuns(PagePart):
    """The runs of one page, one at a time for each key: a new run cancels and replaces the earlier one.

    A refused run does not cancel the earlier one.
    """

    actions = dict.fromkeys(previews.PLANNERS, Permission.EDIT) | {"cancel": None}

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.runs: dict[str, asyncio.Task[None]] = {}
        self.replaced: asyncio.Task[None] | None = None  # the run that a new one is canceling
        self.linking: set[asyncio.Task[None]] = set()

    def read(self, user: User, data: dict[str, Any]) -> previews.Preview | previews.Smoke | None:
        """Return the plan of the run that the page asks for, None to cancel one."""
        planner = previews.PLANNERS.get(data["action"])
        return planner(user, data, live.current()) if planner else None

    async def do(self, user: User, data: dict[str, Any], read: previews.Preview | previews.Smoke | None) -> None:
        """Start a run for the page, or cancel one."""
        key, planned = previews.key(data), read
        if planned is None:
            await self._cancel(key)
            return
        earlier = self.runs.get(key)
        frees = planned.weight if earlier and not earlier.done() else 0
        if running[user.pk] - frees + planned.weight > MAX_RUNS:
            raise ValidationError(f"{MAX_RUNS} runs of yours are in progress. Wait for one to end, or cancel one.")
        running[user.pk] += planned.weight
        self.replaced = earlier
        await self._cancel(key)
        execution = self._smoke(planned) if isinstance(planned, previews.Smoke) else self._run(planned)
        self.runs[key] = task = asyncio.create_task(execution)
        task.add_done_callback(lambda _: running.subtract({user.pk: planned.weight}))

    async def hear(self, event: str) -> None:
        """Show how many runs wait to be recorded when their number changes."""
        if event == events.RECORDING_CHANGED:
            await self.page.send(render_to_string("_recording.html", {"recording": recorder.status, "oob": True}))

    async def stop(self) -> None:
        """Cancel the runs, because the person is signed out or the page is closed."""
        for key in list(self.runs):
            await self._cancel(key)

    async def close(self) -> None:
        """Cancel everything when the page closes."""
        for task in self.linking:
            task.cancel()
        await self.stop()

    async def _run(self, preview: previews.Preview) -> None:
        """Stream one run into the page."""
        plan = preview.plan
        streamed = False
        try:
            await self._render(preview, state="running", plan=plan)
            async with contextlib.aclosing(execute(plan)) as happenings:
                async for event in happenings:
                    if isinstance(event, AttemptStarted):
                        await self._send_status(preview, f"Asking {event.provider}…")
                    elif isinstance(event, TextChunk):
                        if preview.streams:
                            await self.page.send(render_to_string("runs/_try_text.html", {"text": event.text}))
                        streamed = True
                    elif isinstance(event, TextHeld):
                        await self._send_status(
                            preview, f"{event.provider} is answering. The safety filter reads it first…"
                        )
                    elif isinstance(event, RunRecorded):
                        await self._render(
                            preview,
                            state=_state(event),
                            checks=event.checks,
                            plan=plan,
                            response=event.response,
                            tree=tree_of(event.response.data) if event.response else "",
                            alternatives=(alternatives := _alternatives(plan, event.response)),
                            written=_written(event, alternatives),
                            written_masked=event.raw_masked,
                            attempts=event.attempts,
                            calls=with_retries(event.attempts),
                            contract=plan.contract_outcome(event.attempts),
                            error=event.error,
                            latency_ms=event.latency_ms,
                            run_id=event.run_id,
                            unrecorded=_unrecorded_id(event.recording),
                            cut=streamed and not event.response,
                        )
                        self._link_later(event.recording)
        except asyncio.CancelledError:
            if asyncio.current_task() is not self.replaced:
                with contextlib.suppress(Exception):  # the page may be closed already
                    await self._render(preview, state="canceled", plan=plan)
            raise
        except Refused as refused:
            await self._render(preview, state="failed", plan=plan, error=str(refused))
        except Exception:
            log.exception("A run failed unexpectedly")
            await self._render(
                preview,
                state="failed",
                plan=plan,
                error=f"{FAILED} Try again.",
            )

    async def _smoke(self, smoke: previews.Smoke) -> None:
        """Fill the table of a smoke run, one input after another, each with its two runs at once."""
        answered = 0
        try:
            await self.page.send(render_to_string("runs/_smoke.html", {"smoke": smoke}))
            for _, cells in smoke.rows:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._smoke_cell(cell)) for cell in cells]
                answered += sum(task.result() for task in tasks)
            state = "done"
        except asyncio.CancelledError:
            if asyncio.current_task() is not self.replaced:
                with contextlib.suppress(Exception):  # the page may be closed already
                    await self._send_smoke(smoke, "canceled", answered)
            raise
        except Exception:
            log.exception("A smoke run failed unexpectedly")
            state = "broken"
        await self._send_smoke(smoke, state, answered)

    async def _smoke_cell(self, cell: previews.Cell) -> bool:
        """Execute one run of a smoke run, show its result, and return whether it was answered."""
        context: dict[str, Any] = {}
        try:
            async with contextlib.aclosing(execute(cell.plan)) as happenings:
                async for event in happenings:
                    if isinstance(event, RunRecorded):
                        context = vars(event) | {
                            "blocked": event.blocked,
                            "unchanged": event.unchanged,
                            "contract": cell.plan.contract_outcome(event.attempts),
                            "tree": tree_of(event.response.data) if event.response else "",
                            "unrecorded": _unrecorded_id(event.recording),
                        }
        except Refused as refused:
            context = {"error": str(refused)}
        except Exception:
            log.exception("A run failed unexpectedly")
            context = {"error": FAILED}
        await self.page.send(render_to_string("runs/_smoke_cell.html", {"cell": cell} | context))
        self._link_later(context.get("recording"))
        return bool(context.get("response"))

    def _link_later(self, recording: "asyncio.Task[int] | None") -> None:
        """Show the link to a run in the page once it is recorded, or that it was lost."""
        if recording is not None:
            self.linking.add(task := asyncio.create_task(self._link(recording)))
            task.add_done_callback(self.linking.discard)

    async def _link(self, recording: "asyncio.Task[int]") -> None:
        await asyncio.wait({recording})
        run_id = 0 if recording.cancelled() or recording.exception() else recording.result()
        context = {"run_id": run_id, "unrecorded": _unrecorded_id(recording), "is_dropped": not run_id}
        await self.page.send(render_to_string("runs/_run_link.html", context))

    async def _send_smoke(self, smoke: previews.Smoke, state: str, answered: int) -> None:
        context = {"smoke": smoke, "state": state, "answered": answered, "failed": smoke.runs - answered}
        await self.page.send(render_to_string("runs/_smoke_status.html", context))

    async def _cancel(self, key: str) -> None:
        """Cancel the run of this key, if it is in progress, and wait until it is recorded."""
        run = self.runs.pop(key, None)
        if run is not None and not run.done():
            run.cancel()
            await asyncio.wait({run})

    async def _render(self, preview: previews.Preview, **context: Any) -> None:
        await self.page.send(render_to_string(preview.template, preview.context | context))

    async def _send_status(self, preview: previews.Preview, text: str) -> None:
        if preview.streams:
            await self.page.send(render_to_string("runs/_try_status.html", {"text": text}))


def _written(event: RunRecorded, alternatives: list[str]) -> list[tuple[str, bool]]:
    if event.response is None or event.raw_masked:
        return []
    return pieces(event.response.content, event.raw, alternatives)


def _state(event: RunRecorded) -> str:
    if event.response:
        return "done"
    return "blocked" if event.blocked else "unchanged" if event.unchanged else "failed"


def _unrecorded_id(recording: "asyncio.Task[int] | None") -> str:
    """Return the id of the element that shows that a run is not recorded yet."""
    return f"unrecorded-{recording.get_name()}" if recording else ""


def _alternatives(plan: RunPlan, response: LLMResponse | None) -> list[str]:
    count = plan.spec.count_or_default(plan.count)
    return [] if response is None or count is None else parse_alternatives(response.content, count)
