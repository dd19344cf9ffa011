"""The route about the caller's own token."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from promptops.api.access import Caller, needs
from promptops.people.enums import Scope

router = APIRouter(prefix="/api/v1", tags=["Token"])


class OwnToken(BaseModel):
    """The caller's token."""

    name: str
    scopes: list[Scope]
    server: str | None
    """The only server that may use it."""
    made_by: str
    expires_at: datetime | None


@router.get("/token", summary="Show your token")
async def own_token(caller: Annotated[Caller, Depends(needs(*Scope))]) -> OwnToken:
    """Return the name, scopes, server, maker and end of the token that you send. Any token may ask."""
    token = caller.token
    scopes = [scope for scope in Scope if scope in token.scopes]
    return OwnToken(
        name=token.name,
        scopes=scopes,
        server=token.server or None,
        made_by=token.made_by,
        expires_at=token.expires_at,
    )
