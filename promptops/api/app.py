"""The application of the machine interface: its routers, and the routes about itself.

Every route is a coroutine. Work with the database goes through `database.in_database`.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.responses import JSONResponse

from promptops.api import (
    auditing,
    completions,
    curating,
    reading,
    releasing,
    reporting,
    running,
    servers,
    sessions,
    tokens,
)
from promptops.api.access import Caller, needs
from promptops.api.door import with_door
from promptops.api.errors import add_handlers
from promptops.api.openapi import document_of, routes_of
from promptops.api.problems import ADDRESS, TYPES
from promptops.people.enums import Scope

about = APIRouter(tags=["Interface"])

# Routes are tried in this order, and runs come most often.
ROUTERS = (
    running.router,
    tokens.router,
    reading.router,
    curating.router,
    sessions.router,
    completions.router,
    servers.router,
    reporting.router,
    releasing.router,
    auditing.router,
    about,
)

TAGS = [
    {"name": "Token", "description": "The token that you send."},
    {"name": "Live", "description": "What is live, and what was."},
    {"name": "Runs", "description": "Running operations for servers and tools."},
    {"name": "Sessions", "description": "Sessions that keep the revision they began with."},
    {"name": "OpenAI", "description": "The same runs for tools that speak OpenAI's protocol."},
    {"name": "Servers", "description": "The servers that follow what is live."},
    {"name": "Releases", "description": "Publish and roll back."},
    {"name": "Audit", "description": "The record of all changes."},
    {"name": "Interface", "description": "The interface itself."},
]


@about.get("/api/v1/openapi.json", summary="Show the OpenAPI document")
async def openapi_document(caller: Annotated[Caller, Depends(needs(*Scope))]) -> dict[str, Any]:
    """Return this document. Any token may ask."""
    return document_of(api, routes_of(ROUTERS))


@about.get(ADDRESS, summary="List the problem types")
async def problem_types() -> dict[str, list[dict[str, Any]]]:
    """Return the kinds of problems with their stable names. Everybody may ask; the `type` of a problem leads here."""
    facts = [
        {"type": each.uri, "name": each.name, "status": each.status, "title": each.title, "when": each.when}
        for each in TYPES.values()
    ]
    return {"problems": facts}


def _application() -> FastAPI:
    application = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        default_response_class=JSONResponse,
        openapi_tags=TAGS,
    )
    for router in ROUTERS:
        application.include_router(router)
    add_handlers(application)
    return application


api = _application()
machines = with_door(api)
"""The ASGI application behind `/api` and `/v1`."""
