"""The route that runs an operation. It reads memory only, and goes on while the database is unavailable.

The answer of a run is in `answers`, pins and sessions are in `pins`.
"""

import json
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from promptops.api import pins
from promptops.api.access import Caller, needs
from promptops.api.answers import RunAnswer, answer, finished, happenings, invalid, room
from promptops.api.openapi import problems
from promptops.api.problems import Problem
from promptops.engine.events import AttemptFailed, AttemptStarted
from promptops.engine.judged_runs import TextHeld
from promptops.engine.live_runs import Input
from promptops.engine.operations import MAX_NAME_CHARACTERS, OnFailure
from promptops.engine.snapshot import Snapshot
from promptops.engine.types import TextChunk
from promptops.live import snapshots
from promptops.people.enums import Scope
from promptops.platform.text import MAX_INPUT_CHARACTERS
from promptops.runs.machines import MAX_DEADLINE_MS, InvalidRun, MachinePlan, Wishes, plan_run
from promptops.runs.plans import MAX_COUNT, RunRecorded

router = APIRouter(prefix="/api/v1", tags=["Runs"])

MOST_PROMPTS = 500
MAX_REVISION = 2_147_483_647
EVENTS = "text/event-stream"

Runner = Annotated[Caller, Depends(needs(Scope.RUN))]
OperationName = Annotated[str, PathParameter(max_length=MAX_NAME_CHARACTERS)]
Text = Annotated[str, Field(max_length=MAX_INPUT_CHARACTERS)]


class Pinned(BaseModel):
    """The wishes of a run beside its input."""

    model_config = ConfigDict(extra="forbid")

    template: str | None = Field(None, max_length=100, description="Another template than the operation's default.")
    revision: int | None = Field(None, ge=0, le=MAX_REVISION, description="Run the texts of an earlier revision.")
    session: str | None = Field(None, max_length=500, description="The id of a session, which names its revision.")
    deadline_ms: int | None = Field(None, ge=1, le=MAX_DEADLINE_MS, description="The time of the whole run.")
    on_failure: OnFailure | None = Field(None, description="What happens if nobody answers.")

    @model_validator(mode="after")
    def _one_pin(self) -> "Pinned":
        if self.revision is not None and self.session is not None:
            raise ValueError("Send `revision` or `session`, and not both.")
        return self


class RunBody(Pinned):
    """A run."""

    input: Text | Annotated[list[Text], Field(max_length=MOST_PROMPTS)] | None = Field(
        None, description="A text, or for a list operation its prompts, oldest first."
    )
    fields: dict[str, Text] | None = Field(None, max_length=100, description="For an operation with fields.")
    count: int | None = Field(None, ge=1, le=MAX_COUNT, description="The number of alternatives.")

    @model_validator(mode="after")
    def _one_input(self) -> "RunBody":
        if (self.input is None) == (self.fields is None):
            raise ValueError("Send `input` or `fields`, and not both.")
        return self


RUN_PROBLEMS = problems("not-found", "session-ended", "blocked", "unanswered", "keep-running")
RUN_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": RunAnswer,
        "content": {EVENTS: {"schema": {"type": "string", "description": "The events of the run, with `Accept`."}}},
    }
}


@router.post("/run/{operation}", summary="Run an operation", responses=RUN_RESPONSES | RUN_PROBLEMS)
async def run(
    caller: Runner,
    request: Request,
    operation: OperationName,
    body: RunBody,
    accept: Annotated[str, Header(description="`text/event-stream` for events")] = "",
) -> Response:
    """Run an operation on an input, judge input and answer, and return the result.

    With `Accept: text/event-stream` the answer comes as events: `attempt`, `failed`, `held` and `text` as they happen,
    and last `done` with the result or `problem` with the problem document.
    """
    snapshot, session = await pinned(body)
    given: Input = (body.fields or {}) if body.input is None else body.input
    streams = EVENTS in accept
    wishes = Wishes(count=body.count, template=body.template, deadline_ms=body.deadline_ms, on_failure=body.on_failure)
    try:
        plan = plan_run(
            snapshot,
            operation,
            given,
            wishes,
            token=caller.token.id,
            request_id=caller.request_id,
            delivery="stream" if streams else "whole",
        )
    except InvalidRun as error:
        raise invalid(error) from None
    if streams:
        with room():  # else refused before the stream begins
            pass
        headers = revision_headers(snapshot) | {"X-Accel-Buffering": "no"}
        return StreamingResponse(_events(plan, session), headers=headers, media_type=EVENTS)
    with room():
        end = await finished(plan)
    return json_response(answer(plan, end, session), revision_headers(snapshot))


async def pinned(body: Pinned) -> tuple[Snapshot, str | None]:
    """Return the snapshot of a run, and the session's id to send next time. Raises problems."""
    live = await snapshots.acurrent()
    if body.session is not None:
        session = pins.read(body.session, live)
        return await pins.pinned_snapshot(session.revision, live), session.renewed(time.time()).id
    if body.revision is not None:
        return await pins.pinned_snapshot(body.revision, live), None
    return live, None


def revision_headers(snapshot: Snapshot) -> dict[str, str]:
    """Return the headers that name the revision of a run."""
    return {"PromptOps-Revision": str(snapshot.revision), "PromptOps-Epoch": snapshot.epoch}


def json_response(values: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """Return values as an answer, without validating them again."""
    body = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(body, headers=dict(headers or {}), media_type="application/json")


def event_text(name: str, values: Mapping[str, Any]) -> str:
    """Return one server-sent event."""
    return f"event: {name}\ndata: {json.dumps(values, ensure_ascii=False)}\n\n"


async def _events(plan: MachinePlan, session: str | None) -> AsyncGenerator[str, None]:
    """Yield the events of a run. If the client goes, the run is canceled and recorded so."""
    try:
        with room():
            async with aclosing(happenings(plan)) as events:
                async for event in events:
                    match event:
                        case AttemptStarted():
                            yield event_text("attempt", {"provider": event.provider})
                        case AttemptFailed():
                            failure = event.attempt
                            yield event_text(
                                "failed", {"provider": failure.provider, "error_kind": failure.error_kind or ""}
                            )
                        case TextHeld():
                            yield event_text("held", {"provider": event.provider})
                        case TextChunk():
                            yield event_text("text", {"text": event.text})
                        case RunRecorded():
                            yield event_text("done", answer(plan, event, session))
    except Problem as problem:
        yield event_text("problem", problem.document)
