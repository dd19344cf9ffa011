"""The routes that read what is live: the live document, its parts, stored revisions, and the files of safety models.

Routes about what is live read the process's memory only, so they also answer while the database is unavailable.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse
from pydantic import BaseModel

from promptops.api.access import Caller, bearer, needs
from promptops.api.database import in_database
from promptops.api.openapi import problems
from promptops.api.problems import Problem, later
from promptops.engine.live_document import InvalidDocument, document_bytes
from promptops.history.queries.revisions import stored_revision
from promptops.ledger.configurations import DamagedConfiguration
from promptops.live import documents, snapshots
from promptops.live.documents import LiveDocument
from promptops.live.waiting import Ended, Reason, TooManyWaiting
from promptops.people import tokens
from promptops.people.enums import Scope
from promptops.prompts.queries.machines import version_values
from promptops.safety.queries.files import model_file

router = APIRouter(prefix="/api/v1", tags=["Live"])

MAX_WAIT_SECONDS = 30
MAX_NUMBER = 2_147_483_647
RETRY_SECONDS = 5

FOLLOWS, READS, RELOADS = needs(Scope.READ, Scope.FOLLOW), needs(Scope.READ), needs(Scope.FOLLOW)

Follower = Annotated[Caller, Depends(FOLLOWS)]
Reader = Annotated[Caller, Depends(READS)]
Number = Annotated[int, PathParameter(ge=1, le=MAX_NUMBER)]
Name = Annotated[str, PathParameter(max_length=60, pattern=r"^[a-z0-9][a-z0-9_-]*$")]
KnownTag = Annotated[str | None, Header(alias="If-None-Match", description="The `ETag` of what you have")]

NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "You have what is live."}}
AN_OBJECT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"schema": {"type": "object"}}}},
}
A_FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
}

tokens.REVOKED.append(documents.waiting.revoke)


class Reloaded(BaseModel):
    """The revision that the process runs after it has read the database again."""

    revision: int
    epoch: str
    sha256: str


@router.get("/live", summary="Read or follow what is live", response_class=Response, responses=AN_OBJECT | NOT_MODIFIED)
async def live(
    caller: Follower,
    request: Request,
    known: KnownTag = None,
    after: Annotated[int | None, Query(ge=0, le=MAX_NUMBER, description="The revision that you have")] = None,
    epoch: Annotated[str, Query(max_length=100, description="The epoch of that revision")] = "",
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_SECONDS, allow_inf_nan=False, description="Seconds to wait for news")
    ] = 0,
) -> Response:
    """Return the live document. The answer is 304 if you have it, by `If-None-Match` or `after` and `epoch`.

    With `wait` the answer comes with the next release, or after that time. A revision of another epoch is news, also if
    its number is lower.
    """

    def is_news(document: LiveDocument) -> bool:
        if known is not None and _matches(known, document.sha256):
            return False
        return after is None or document.revision > after or bool(epoch and epoch != document.epoch)

    try:
        document = await documents.next_document(is_news, seconds=wait, token=caller.token.id)
    except TooManyWaiting:
        raise later("busy", "Too many servers wait for news. Ask again without `wait`.", RETRY_SECONDS) from None
    except Ended as ended:
        if ended.reason is Reason.STOPPING:
            raise later("stopping", "This process is stopping. Ask again: another process answers.", 1) from None
        await FOLLOWS(request, await bearer(request))  # raises, unless the token only changed
        document = await _current()
    except InvalidDocument as refusal:
        raise _unwritable(refusal) from None
    headers = _headers(document)
    if not is_news(document):
        return Response(status_code=304, headers=headers)
    packs = _takes_gzip(request.headers.get("accept-encoding", ""))
    if packs:
        headers["Content-Encoding"] = "gzip"
    return Response(document.gzip if packs else document.body, headers=headers, media_type="application/json")


@router.get(
    "/revisions/{revision}",
    summary="Read what a release stored",
    response_class=Response,
    responses=AN_OBJECT | problems("not-found"),
)
async def revision(caller: Reader, revision: Number) -> Response:
    """Return a release and the configuration from then on, with the texts of all templates.

    `configuration` is null for a release of an old version of PromptOps that stored none.
    """
    try:
        stored = await in_database(stored_revision, revision)
    except DamagedConfiguration:
        detail = f"The stored configuration of revision {revision} is damaged. Ask an administrator to check the log."
        raise Problem(500, "internal", detail) from None
    if stored is None:
        raise Problem(404, "not-found", f"Revision {revision} is unknown.")
    return _json(stored)


@router.get("/operations", summary="List the operations", response_class=Response, responses=AN_OBJECT)
async def operations(caller: Reader) -> Response:
    """Return the operations with their inputs, contracts and limits, as the live document has them."""
    return _part(await _current(), "operations")


@router.get("/templates", summary="List the live templates", response_class=Response, responses=AN_OBJECT)
async def templates(caller: Reader) -> Response:
    """Return the templates that are live, as the live document has them."""
    return _part(await _current(), "templates")


@router.get(
    "/templates/{name}@{number}",
    summary="Read a version of a template",
    response_class=Response,
    responses=AN_OBJECT | problems("not-found"),
)
async def version(caller: Reader, name: Name, number: Number) -> Response:
    """Return one version, live or not. Its text is filled in with today's variables."""
    values = await in_database(version_values, name, number)
    if values is None:
        raise Problem(404, "not-found", "The template or its version is unknown. The prompts page lists them.")
    return _json(values)


@router.get(
    "/templates/{name}",
    summary="Read a live template",
    response_class=Response,
    responses=AN_OBJECT | problems("not-found"),
)
async def template(caller: Reader, name: Name) -> Response:
    """Return the live version of a template, as the live document has it."""
    document = await _current()
    found = next((each for each in document.values["templates"] if each["name"] == name), None)
    if found is None:
        raise Problem(404, "not-found", "No live template has this name. `GET /api/v1/templates` lists them.")
    return _json({"revision": document.revision, "epoch": document.epoch, **found})


@router.get(
    "/safety/models/{number}",
    summary="Download a safety model",
    response_class=Response,
    responses=A_FILE | NOT_MODIFIED | problems("not-found", "model-missing"),
)
async def safety_model(caller: Follower, number: Number, known: KnownTag = None) -> Response:
    """Return the file of a model of the safety filter. Its `ETag` is its SHA-256, which the live document names."""
    try:
        found: tuple[Path, str] | None = await in_database(model_file, number)
    except ValueError as error:
        raise Problem(404, "model-missing", f"The file of model {number} is unavailable: {error}.") from None
    if found is None:
        raise Problem(404, "not-found", f"Safety model {number} is unknown.")
    path, sha256 = found
    headers = {"ETag": f'"{sha256}"', "Cache-Control": "private, no-cache"}
    if known is not None and _matches(known, sha256):
        return Response(status_code=304, headers=headers)
    return FileResponse(path, headers=headers, media_type="application/octet-stream")


@router.post("/reload", summary="Read the database again")
async def reload(caller: Annotated[Caller, Depends(RELOADS)]) -> Reloaded:
    """Let this process read the live configuration again, and return what it runs then.

    Nobody needs this: each process sees every release within a second.
    """
    await in_database(snapshots.refresh)
    document = await _current()
    return Reloaded(revision=document.revision, epoch=document.epoch, sha256=document.sha256)


async def _current() -> LiveDocument:
    try:
        return await documents.acurrent()
    except InvalidDocument as refusal:
        raise _unwritable(refusal) from None


def _unwritable(refusal: InvalidDocument) -> Problem:
    return Problem(500, "internal", f"What is live cannot be handed to servers. {refusal}")


def _part(document: LiveDocument, key: str) -> Response:
    return _json({"revision": document.revision, "epoch": document.epoch, key: document.values[key]})


def _json(values: Mapping[str, Any]) -> Response:
    return Response(document_bytes(values), media_type="application/json")


def _headers(document: LiveDocument) -> dict[str, str]:
    return {
        "ETag": f'"{document.sha256}"',
        "Cache-Control": "private, no-cache",
        "Vary": "Accept-Encoding",
        "PromptOps-Revision": str(document.revision),
        "PromptOps-Epoch": document.epoch,
    }


def _matches(header: str, sha256: str) -> bool:
    """Return whether the header If-None-Match names this hash (RFC 9110, 13.1.2)."""
    tags = [each.strip().removeprefix("W/") for each in header.split(",")]
    return f'"{sha256}"' in tags or tags == ["*"]


def _takes_gzip(header: str) -> bool:
    """Return whether the header Accept-Encoding names gzip, not with the weight 0."""
    for each in header.lower().split(","):
        name, _, weight = each.strip().partition(";")
        if name.strip() in ("gzip", "*"):
            return weight.replace(" ", "").rstrip("0.") != "q="
    return False
