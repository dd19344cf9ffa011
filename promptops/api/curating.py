"""The route that judges and enhances the prompts of a session's start, all at once."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from promptops.api import limits
from promptops.api.answers import RunAnswer, answer, finished, invalid, room
from promptops.api.openapi import problems
from promptops.api.problems import Problem, later
from promptops.api.running import Pinned, Runner, Text, json_response, pinned, revision_headers
from promptops.engine.operations import MAX_NAME_CHARACTERS
from promptops.engine.types import PromptOperation
from promptops.people.enums import Scope
from promptops.runs.machines import InvalidRun, MachinePlan, Wishes, plan_run

router = APIRouter(prefix="/api/v1", tags=["Runs"])

MOST_PROMPTS = 64


class CurateBody(Pinned):
    """The prompts of a session's start. All share the deadline and the revision."""

    prompts: Annotated[list[Text], Field(min_length=1, max_length=MOST_PROMPTS)]
    operation: str = Field(PromptOperation.ENHANCE.value, max_length=MAX_NAME_CHARACTERS)


class CuratedPrompt(BaseModel):
    """The result of one prompt: an answer, or the problem of a run without one."""

    status: Literal["succeeded", "unchanged", "blocked", "failed"]
    prompt: str
    answer: RunAnswer | None
    problem: dict[str, Any] | None


class Curation(BaseModel):
    """One result for each prompt, in order."""

    revision: int
    epoch: str
    results: list[CuratedPrompt]
    first_blocked: int | None = Field(description="The place of the first blocked prompt, counted from 0.")
    session: str | None


@router.post(
    "/curate",
    summary="Judge and enhance the prompts of a session's start",
    response_model=Curation,
    responses=problems("not-found", "session-ended"),
)
async def curate(caller: Runner, body: CurateBody) -> Response:
    """Run one operation on up to 64 prompts at once. Each prompt is judged; a blocked one does not stop the others."""
    _take_quota(caller.token.id, len(body.prompts))
    snapshot, session = await pinned(body)
    wishes = Wishes(template=body.template, deadline_ms=body.deadline_ms, on_failure=body.on_failure)
    plans = [_plan(place, prompt, body, snapshot, wishes, caller) for place, prompt in enumerate(body.prompts)]
    with room(len(plans)):
        results = await asyncio.gather(*(_result(plan) for plan in plans))
    values = {
        "revision": snapshot.revision,
        "epoch": snapshot.epoch,
        "results": results,
        "first_blocked": next((place for place, each in enumerate(results) if each["status"] == "blocked"), None),
        "session": session,
    }
    return json_response(values, revision_headers(snapshot))


def _take_quota(token: int, runs: int) -> None:
    """Let each further run count as one request. Raises a problem if the quota does not suffice."""
    taken = limits.by_token.take(token, limits.policy_of(Scope.RUN), cost=runs - 1)
    if not taken.allowed:
        detail = f"Each prompt counts as a request, and the token has only {taken.remaining + 1:,} left."
        raise later("rate-limited", f"{detail} Wait {taken.retry_seconds} seconds.", taken.retry_seconds)


def _plan(place: int, prompt: str, body: CurateBody, snapshot: Any, wishes: Wishes, caller: Runner) -> MachinePlan:
    try:
        return plan_run(snapshot, body.operation, prompt, wishes, token=caller.token.id, request_id=caller.request_id)
    except InvalidRun as error:
        field = f"prompts.{place}" if error.field == "input" else error.field
        raise invalid(InvalidRun(field, str(error))) from None


async def _result(plan: MachinePlan) -> dict[str, Any]:
    """Return the values of `CuratedPrompt`."""
    end = await finished(plan)
    result: dict[str, Any] = {"status": end.status.value, "prompt": plan.input, "answer": None, "problem": None}
    try:
        return result | {"answer": answer(plan, end)}
    except Problem as problem:
        return result | {"problem": problem.document}
