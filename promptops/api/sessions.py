"""The routes of sessions: each pins a viewer's session to the revision that it began with.

The id of a session carries its revision (see `pins`), so no process keeps sessions, and none is lost in a restart.
"""

import time
from datetime import datetime
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from promptops.api import pins
from promptops.api.openapi import problems
from promptops.api.running import Runner
from promptops.live import snapshots

router = APIRouter(prefix="/api/v1", tags=["Sessions"])


class NewSession(BaseModel):
    """The policy of a session."""

    model_config = ConfigDict(extra="forbid")

    policy: Literal["session", "segment"] = Field(
        "session", description="`session` keeps its revision, `segment` moves on when you say that a segment begins."
    )


class SessionId(BaseModel):
    """A session by its id."""

    model_config = ConfigDict(extra="forbid")

    session: str = Field(max_length=500)


class SessionFacts(BaseModel):
    """A session. Send its id with each run, and use the newest id that an answer names."""

    session: str
    policy: Literal["session", "segment"]
    revision: int
    epoch: str
    expires_at: datetime


@router.post("/sessions", summary="Begin a session", status_code=201)
async def begin(caller: Runner, body: NewSession) -> SessionFacts:
    """Pin a session to what is live now: its texts, settings and contracts.

    The chain, its keys, the safety filter and the levers of its runs are always the newest.
    """
    return _facts(pins.begin(body.policy, await snapshots.acurrent()))


@router.post("/sessions/segment", summary="Begin a segment of a session", responses=problems("session-ended"))
async def next_segment(caller: Runner, body: SessionId) -> SessionFacts:
    """Return the session's next id. With the policy `segment` it is pinned to what is live now."""
    live = await snapshots.acurrent()
    return _facts(pins.read(body.session, live).moved_on(live, time.time()))


def _facts(session: pins.Session) -> SessionFacts:
    return SessionFacts(
        session=session.id,
        policy=session.policy,
        revision=session.revision,
        epoch=session.epoch,
        expires_at=session.expires_at,
    )
