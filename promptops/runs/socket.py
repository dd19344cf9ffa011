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
from promptops.ledger.errors import Refused
from promptops.live import snapshots as live
from promptops.people.enums import Permission
from promptops.people.models import User
from promptops.platform import events
from promptops.runs import previews
from promptops.runs.actions.execution import execute
from promptops.runs.actions.recording import recorder
from promptops.runs.answers import Answer, Base, Ran, against, canceled, ended, failed, unrecorded_id
from promptops.runs.plans import RunRecorded
from promptops.runs.trees import tree_of
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
        self.weights: dict[str, int] = {}  # runs at once, by the same keys
        self.replaced: asyncio.Task[None] | None = None  # the run that a new one is canceling
        self.linking: set[asyncio.Task[None]] = set()

    def read(self, user: User, data: dict[str, Any]) -> previews.Planned | None:
        """Return the plan of the run that the page asks for, None to cancel one."""
        planner = previews.PLANNERS.get(data["action"])
        return planner(user, data, live.current()) if planner else None

    async def do(self, user: User, data: dict[str, Any], read: previews.Planned | None) -> None:
        """Start a run for the page, or cancel one."""
        key, planned = previews.key(data), read
        if planned is None:
            await self._cancel(key)
            return
        earlier = self.runs.get(key)
        frees = self.weights[key] if earlier and not earlier.done() else 0
        if running[user.pk] - frees + planned.weight > MAX_RUNS:
            raise ValidationError(f"{MAX_RUNS} runs of yours are in progress. Wait for some to end, or cancel them.")
        running[user.pk] += planned.weight
        self.replaced = earlier
        await self._cancel(key)
        self.weights[key] = planned.weight
        self.runs[key] = task = asyncio.create_task(self._execute(planned))
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

    async def _execute(self, planned: previews.Planned) -> None:
        if isinstance(planned, previews.Smoke):
            await self._smoke(planned)
        elif isinstance(planned, previews.Try):
            await self._try(planned)
        else:
            await self._render(planned, state="running", plan=planned.plan)
            await self._run(planned)

    async def _try(self, group: previews.Try) -> None:
        """Execute runs with one input at once, each in a card of its own, and mark what differs."""
        await self.page.send(render_to_string("runs/_try_group.html", {"group": group}))
        async with asyncio.TaskGroup() as tasks:
            runs = [tasks.create_task(self._run(preview, group.base)) for preview in group.previews]
        first, *others = answers = [run.result() for run in runs]
        for number, answer in enumerate(others, start=2):
            base = Base(str(first.ran) if group.is_against_live else "the first answer", first.text, first.run_id)
            compared = against(answer, base)
            if compared.base:
                context = {"card": f"{group.place}-{number}", "answer": compared, "oob": True}
                await self.page.send(await asyncio.to_thread(render_to_string, "runs/_try_body.html", context))
        await self.page.send(render_to_string("runs/_try_news.html", {"answers": answers}))

    async def _run(self, preview: previews.Preview, base: Base | None = None) -> Answer:
        """Stream one run into the page, and return its end."""
        plan = preview.plan
        ran = preview.context.get("ran") or Ran("", plan.input)
        streamed = False
        answer = failed(ran, f"{FAILED} Try again.")
        try:
            async with contextlib.aclosing(execute(plan)) as happenings:
                async for event in happenings:
                    if isinstance(event, AttemptStarted):
                        await self._send_status(preview, f"Asking {event.provider}…")
                    elif isinstance(event, TextChunk):
                        if preview.streams:
                            context = preview.context | {"text": event.text}
                            await self.page.send(render_to_string("runs/_try_text.html", context))
                        streamed = True
                    elif isinstance(event, TextHeld):
                        await self._send_status(
                            preview, f"{event.provider} is answering. The safety filter reads it first…"
                        )
                    elif isinstance(event, RunRecorded):
                        answer = against(ended(plan, ran, event, has_streamed=streamed), base)
                        await self._render(preview, answer=answer, response=event.response)
                        self._link_later(event.recording)
        except asyncio.CancelledError:
            if asyncio.current_task() is not self.replaced:
                with contextlib.suppress(Exception):  # the page may be closed already
                    await self._render(preview, answer=canceled(ran))
            raise
        except Refused as refused:
            answer = failed(ran, str(refused))
            await self._render(preview, answer=answer)
        except Exception:
            log.exception("A run failed unexpectedly")
            await self._render(preview, answer=answer)
        return answer

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
                            "unrecorded": unrecorded_id(event.recording),
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
        context = {"run_id": run_id, "unrecorded": unrecorded_id(recording), "is_dropped": not run_id}
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

    async def _render(self, preview: previews.Preview, answer: Answer | None = None, **context: Any) -> None:
        """Show how a run stands. A thread renders its end, because comparing two long answers takes a while."""
        if answer is None:
            await self.page.send(render_to_string(preview.template, preview.context | context))
            return
        context |= {name: getattr(answer, name) for name in ("state", "error", "latency_ms", "run_id", "unrecorded")}
        html = await asyncio.to_thread(
            render_to_string, preview.template, preview.context | context | {"answer": answer}
        )
        await self.page.send(html)

    async def _send_status(self, preview: previews.Preview, text: str) -> None:
        if preview.streams:
            await self.page.send(render_to_string("runs/_try_status.html", preview.context | {"text": text}))
