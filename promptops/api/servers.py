"""The routes about servers: the list, and the messages of servers that have no socket."""

from datetime import datetime
from typing import Annotated, Any

from django.utils import timezone
from fastapi import APIRouter, Body, Depends, Query
from pydantic import BaseModel, Field

from promptops.api.access import Caller, needs
from promptops.api.database import in_database
from promptops.api.problems import Problem
from promptops.fleet.messages import InvalidMessage, Message, Register, parse
from promptops.fleet.models import Server
from promptops.fleet.queries.servers import Picture, ServerRow, find, picture
from promptops.fleet.reports import reports
from promptops.fleet.standing import HEARTBEAT_SECONDS
from promptops.live import snapshots
from promptops.people.enums import Scope

router = APIRouter(prefix="/api/v1", tags=["Servers"])

MOST_ON_A_PAGE = 1_000


class ServerFacts(BaseModel):
    """A server as it last reported itself, and how it stands to what is live."""

    id: int
    name: str
    instance: str
    kind: str
    version: str
    labels: dict[str, str]
    standing: str
    revision: int | None
    epoch: str
    sha256: str
    since: datetime | None
    behind: int | None = Field(description="How many revisions it lacks; null if that cannot be counted.")
    reason: str = Field(description="Why it refuses or has drifted.")
    heard_at: datetime
    runs_a_minute: float | None
    filtered: bool


class ServerList(BaseModel):
    """One page of the servers, in the order in which they first came."""

    revision: int
    epoch: str
    servers: list[ServerFacts]
    next: int | None = Field(description="The value of `after` for the next page; null on the last one.")


class Answer(BaseModel):
    """The live revision, for a server that compares it with its own."""

    revision: int
    epoch: str
    heartbeat_seconds: int


@router.get("/servers", summary="List the servers")
async def list_servers(
    caller: Annotated[Caller, Depends(needs(Scope.READ))],
    after: Annotated[int, Query(ge=0, le=2**62, description="The id of the last server of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_ON_A_PAGE)] = 200,
) -> ServerList:
    """Return every server and process of PromptOps, with what it runs."""
    shown: Picture = await in_database(picture)
    rows = sorted((row for row in shown.rows if row.server.pk > after), key=lambda row: row.server.pk)
    page = rows[:limit]
    return ServerList(
        revision=shown.live.revision,
        epoch=shown.live.epoch,
        servers=[_facts(row) for row in page],
        next=page[-1].server.pk if len(rows) > limit else None,
    )


# FastAPI leaves null out of examples. The API page puts it in for the revision.
EXAMPLE = {"type": "register", "server": "gpu-7", "instance": "1", "kind": "library", "state": "ready", "revision": 0}


@router.post("/servers", summary="Report what a server runs")
async def report(
    caller: Annotated[Caller, Depends(needs(Scope.FOLLOW))],
    message: Annotated[dict[str, Any], Body(description="A message of the fleet socket.", examples=[EXAMPLE])],
) -> Answer:
    """Take a message that a server without a socket sends: `register` first, then a `heartbeat` every 10 seconds."""
    try:
        parsed = parse(message, is_registered=False)
        if caller.token.server and caller.token.server != parsed.server:
            raise Problem(
                403, "server-mismatch", f"This token belongs to the server {caller.token.server}. Use that name."
            )
        if isinstance(parsed, Register):
            reports.register(parsed, now=timezone.now(), address=caller.address, token=caller.token.id)
        else:
            reports.hear(await _known(parsed), parsed, now=timezone.now())
    except InvalidMessage as error:
        raise Problem(422, "invalid", str(error), errors=[]) from None
    snapshot = await snapshots.acurrent()
    return Answer(revision=snapshot.revision, epoch=snapshot.epoch, heartbeat_seconds=HEARTBEAT_SECONDS)


async def _known(message: Message) -> Server:
    """Return the server that sent the message. Its last one may have come to another process."""
    key = (message.server, message.instance)
    if not reports.has_newest(key):
        row = await in_database(find, *key)
        if row is None:
            raise Problem(409, "refused", "This server is not registered. Send a message of the type register first.")
        if not reports.has_newest(key):  # another message may have come meanwhile
            reports.servers[key] = row
    return reports.servers[key]


def _facts(row: ServerRow) -> ServerFacts:
    server = row.server
    return ServerFacts(
        id=server.pk,
        name=server.name,
        instance=server.instance,
        kind=server.kind,
        version=server.version,
        labels=server.labels,
        standing=row.standing,
        revision=server.revision,
        epoch=server.epoch,
        sha256=server.sha256,
        since=server.since,
        behind=row.behind,
        reason=row.reason,
        heard_at=server.heard_at,
        runs_a_minute=server.runs_a_minute,
        filtered=server.is_filtered,
    )
