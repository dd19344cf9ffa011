"""The route that reads the audit."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Response
from pydantic import BaseModel

from promptops.api.access import Caller, needs
from promptops.api.database import in_database
from promptops.ledger import audit
from promptops.ledger.actions.exports import record_export
from promptops.ledger.models import AuditEntry
from promptops.people.enums import Scope

router = APIRouter(prefix="/api/v1", tags=["Audit"])

MOST_ENTRIES = 500
JSONL = ("application/jsonl", "application/x-ndjson", "application/x-jsonlines")


class AuditPage(BaseModel):
    """Entries of the audit, oldest first."""

    entries: list[dict[str, Any]]
    next: int | None
    """The value of `after` for the next page; null if this one reaches the newest entry."""


@router.get(
    "/audit",
    summary="Read the audit",
    response_model=AuditPage,
    responses={200: {"content": {JSONL[0]: {"schema": {"type": "string"}}}}},
)
async def audit_entries(
    caller: Annotated[Caller, Depends(needs(Scope.AUDIT))],
    after: Annotated[int, Query(ge=0, le=2**62, description="Entries with higher numbers, oldest first.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_ENTRIES)] = 100,
    accept: Annotated[str, Header(max_length=500)] = "",
) -> Any:
    """Return a page of audit entries as JSON, or as JSONL for `Accept: application/jsonl`.

    Each entry has its hash; docs/audit.md says how to check it. At most once a minute, reading makes an entry itself.
    """
    is_jsonl = any(name in accept for name in JSONL)
    entries, following = await in_database(_page, caller, after, limit, "jsonl" if is_jsonl else "json")
    if not is_jsonl:
        page = {"entries": entries, "next": following}
        return Response(json.dumps(page, ensure_ascii=True), media_type="application/json")
    lines = "".join(f"{audit.canonical_json(entry)}\n" for entry in entries)
    headers = {"Link": f'</api/v1/audit?after={following}&limit={limit}>; rel="next"'} if following is not None else {}
    return Response(lines.encode(errors="replace"), headers=headers, media_type=JSONL[0])


def _page(caller: Caller, after: int, limit: int, format: str) -> tuple[list[dict[str, Any]], int | None]:
    filters = {"format": format, "after": after, "limit": limit}
    newest = record_export("audit.exported", by=caller.actor, after=filters, object_name="the audit")
    rows = AuditEntry.objects.filter(seq__gt=after, seq__lte=newest).order_by("seq")[: limit + 1]
    entries = [audit.entry_values(entry) for entry in rows]
    following = entries[limit - 1]["seq"] if len(entries) > limit else None
    return entries[:limit], following
