"""The route for reports of runs that servers made themselves. It counts them, and their texts are not stored."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import AwareDatetime, BaseModel, Field

from promptops.api.access import Caller, needs
from promptops.api.database import in_database
from promptops.api.fields import example
from promptops.api.openapi import problems
from promptops.api.problems import Problem
from promptops.engine.judged_runs import RunStatus
from promptops.engine.operations import MAX_NAME_CHARACTERS
from promptops.people.enums import Scope
from promptops.runs.actions.reports import ReportedRun, count_reports

router = APIRouter(prefix="/api/v1", tags=["Servers"])

MOST_RUNS = 100
MAX_NUMBER = 2_147_483_647
MAX_LATENCY_MS = 86_400_000
NAME = r"^[A-Za-z0-9](?:[A-Za-z0-9_.:@/-]{0,98}[A-Za-z0-9_])?$"
"""As `fleet.messages.NAME` takes names of servers."""
TEMPLATE = r"^([a-z0-9][a-z0-9_-]*)?$"


class RunReport(BaseModel):
    """One run as the server made it."""

    operation: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=MAX_NAME_CHARACTERS)
    template: str = Field("", pattern=TEMPLATE, max_length=100)
    version: int = Field(0, ge=0, le=MAX_NUMBER)
    revision: int = Field(0, ge=0, le=MAX_NUMBER)
    epoch: str = Field("", max_length=100)
    at: AwareDatetime
    status: RunStatus
    latency_ms: float = Field(ge=0, le=MAX_LATENCY_MS, allow_inf_nan=False)
    provider: str = Field("", max_length=200)
    model: str = Field("", max_length=200)
    attempts: int = Field(0, ge=0, le=1_000)
    fallback_used: bool = False
    error_kind: str = Field("", max_length=40)
    input: str = Field("", max_length=16_000, description="Taken, but not stored.")
    output: str = Field("", max_length=16_000, description="Taken, but not stored.")


class Reports(BaseModel):
    """A batch of reports."""

    model_config = example(
        {
            "batch": "0b9f6c1e-6d0a-4c39-9a51-6f2f3f1f7a10",
            "server": "gpu-7",
            "runs": [
                {
                    "operation": "enhance",
                    "at": "2026-01-31T12:00:00Z",
                    "status": "succeeded",
                    "latency_ms": 412.5,
                    "attempts": 1,
                }
            ],
        }
    )

    batch: UUID = Field(description="Its id. Send the same batch again if you get no answer: it counts once.")
    server: str = Field(pattern=NAME, max_length=100)
    instance: str = Field("", max_length=100)
    runs: list[RunReport] = Field(max_length=MOST_RUNS)
    dropped: int = Field(0, ge=0, le=MAX_NUMBER, description="Runs that the server could not report.")


class Counted(BaseModel):
    """The result of a batch."""

    batch: UUID
    is_new: bool = Field(description="False for a batch that was counted before.")


@router.post("/reports", summary="Report runs that a server made itself", responses=problems("server-mismatch"))
async def report(caller: Annotated[Caller, Depends(needs(Scope.FOLLOW))], body: Reports) -> Counted:
    """Count runs that were made elsewhere. They are in no figure of the runs that PromptOps makes."""
    if caller.token.server and caller.token.server != body.server:
        detail = f"This token belongs to the server {caller.token.server}. Use that name."
        raise Problem(403, "server-mismatch", detail)
    runs = [_run(each) for each in body.runs]
    is_new: bool = await in_database(count_reports, body.batch, body.server, runs, body.dropped)
    return Counted(batch=body.batch, is_new=is_new)


def _run(report: RunReport) -> ReportedRun:
    names: tuple[str, ...] = tuple(ReportedRun.__dataclass_fields__)
    values: dict[str, Any] = {name: getattr(report, name) for name in names}
    return ReportedRun(**values)
