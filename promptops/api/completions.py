"""The OpenAI-compatible door: operations as models, for tools that only take a base URL.

Runs are those of `running`. How a chat becomes a run is in `chats`. A problem has OpenAI's `error` beside its own
members (see `errors`).
"""

import json
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from promptops.api.answers import answer, finished, happenings, invalid, room
from promptops.api.chats import OWNER, PREFIX, ChatBody, chat_input, chat_wishes, operation_of
from promptops.api.openapi import problems
from promptops.api.problems import Problem
from promptops.api.running import EVENTS, Runner, json_response
from promptops.engine.snapshot import Snapshot
from promptops.engine.types import TextChunk
from promptops.live import snapshots
from promptops.runs.machines import InvalidRun, MachinePlan, plan_run
from promptops.runs.plans import RunEvent, RunRecorded

router = APIRouter(prefix="/v1", tags=["OpenAI"])

PROBLEMS = problems("not-found", "blocked", "unanswered", "keep-running")
AN_OBJECT: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "application/json": {"schema": {"type": "object"}},
            EVENTS: {"schema": {"type": "string", "description": "Chunks, with `stream`."}},
        }
    },
}


class Model(BaseModel):
    """An operation as a model."""

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = OWNER


class ModelList(BaseModel):
    """The operations as models."""

    object: str = "list"
    data: list[Model]


@router.get("/models", summary="List the operations as models")
async def models(caller: Runner) -> ModelList:
    """Return the operations under the names that `model` takes."""
    snapshot = await snapshots.acurrent()
    return ModelList(data=[Model(id=f"{PREFIX}{name}") for name in snapshot.operations])


@router.get("/models/{model:path}", summary="Show an operation as a model", responses=problems("not-found"))
async def model(caller: Runner, model: str) -> Model:
    """Return one operation."""
    spec = operation_of(await snapshots.acurrent(), model)
    return Model(id=f"{PREFIX}{spec.name}")


@router.post(
    "/chat/completions", summary="Run an operation as a chat", response_class=Response, responses=AN_OBJECT | PROBLEMS
)
async def chat_completions(caller: Runner, body: ChatBody) -> Response:
    """Run the operation that `model` names on the last user message; a list operation takes all of them.

    The live text replaces system messages, unless the operation keeps them. `temperature`, `max_tokens` and
    `max_completion_tokens` can only lower what is live. Parameters without a meaning here are ignored.
    """
    snapshot = await snapshots.acurrent()
    spec = operation_of(snapshot, body.model)
    try:
        plan = plan_run(
            snapshot,
            spec.name,
            chat_input(spec, body),
            chat_wishes(spec, body),
            token=caller.token.id,
            request_id=caller.request_id,
            delivery="stream" if body.stream else "whole",
        )
    except InvalidRun as error:
        raise invalid(InvalidRun("messages" if error.field == "input" else error.field, str(error))) from None
    if body.stream:
        return await _streamed(plan, body)
    with room():
        end = await finished(plan)
    return json_response(_completion(plan, end, body.model), _headers(snapshot))


def _headers(snapshot: Snapshot) -> dict[str, str]:
    return {"X-PromptOps-Revision": str(snapshot.revision)}


def _completion(plan: MachinePlan, end: RunRecorded, model: str) -> dict[str, Any]:
    """Return a completion. Raises the problem of a run without a result."""
    values = answer(plan, end)
    message = {"role": "assistant", "content": values["content"], "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(end)}
    return {
        **_head(plan, model, "chat.completion"),
        "choices": [choice],
        "usage": _usage(end),
        "promptops": {name: values[name] for name in ("run", "url", "status", "template", "version", "revision")},
    }


def _head(plan: MachinePlan, model: str, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{plan.public_id}", "object": kind, "created": int(time.time()), "model": model}


def _finish(end: RunRecorded) -> str:
    return "length" if end.response and end.response.truncated else "stop"


def _usage(end: RunRecorded) -> dict[str, int]:
    used = [attempt.usage for attempt in end.attempts if attempt.usage]
    sent = sum(usage.input_tokens or 0 for usage in used)
    written = sum(usage.output_tokens or 0 for usage in used)
    return {"prompt_tokens": sent, "completion_tokens": written, "total_tokens": sent + written}


async def _streamed(plan: MachinePlan, body: ChatBody) -> Response:
    """Return the run as chunks. A run that ends without a text before its first chunk is a problem with its status."""
    async with AsyncExitStack() as stack:
        stack.enter_context(room())
        events = await stack.enter_async_context(aclosing(happenings(plan)))
        first: RunEvent | None = None
        async for event in events:
            if isinstance(event, TextChunk | RunRecorded):
                first = event
                break
        assert first is not None, "a run ends with RunRecorded"
        if isinstance(first, RunRecorded):
            answer(plan, first)  # raises the problem
        chunks = _chunks(plan, body, first, events, stack.pop_all())
        return StreamingResponse(
            chunks, headers=_headers(plan.snapshot) | {"X-Accel-Buffering": "no"}, media_type=EVENTS
        )


async def _chunks(
    plan: MachinePlan, body: ChatBody, first: RunEvent, events: AsyncGenerator[RunEvent, None], stack: AsyncExitStack
) -> AsyncGenerator[str, None]:
    head = _head(plan, body.model, "chat.completion.chunk")

    def chunk(delta: dict[str, Any], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _data({**head, "choices": [choice]} | ({"usage": None} if body.wants_usage else {}))

    async with stack:
        try:
            yield chunk({"role": "assistant", "content": ""})
            event, sent = first, ""
            while not isinstance(event, RunRecorded):
                if isinstance(event, TextChunk):
                    sent += event.text
                    yield chunk({"content": event.text})
                event = await anext(events)
            values = answer(plan, event)
            if not sent:  # the input goes on unchanged
                yield chunk({"content": values["content"]})
            yield chunk({}, _finish(event))
            if body.wants_usage:
                yield _data({**head, "choices": [], "usage": _usage(event)})
            yield "data: [DONE]\n\n"
        except Problem as problem:
            yield _data({"error": problem.openai_error})


def _data(values: dict[str, Any]) -> str:
    return f"data: {json.dumps(values, ensure_ascii=False)}\n\n"
