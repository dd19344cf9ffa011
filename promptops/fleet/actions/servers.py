"""Writing what servers report, in batches, and forgetting a server. Reports of machines are not audited."""

from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from promptops.fleet.enums import ServerKind
from promptops.fleet.models import Acknowledgement, Server
from promptops.fleet.reports import Acknowledged, Batch
from promptops.fleet.standing import SILENT_AFTER
from promptops.ledger import audit, registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.ledger.models import Release
from promptops.ledger.registry import Action

registry.noun("server", "Servers")
registry.object_kind("server", "Server")
registry.register(
    Action(
        "server.forgotten",
        "{actor} removed the server {object} from the fleet",
        when="an administrator removed a server that is no longer connected",
        object="server",
    )
)
registry.value_labels({"heard_at": "Last heard", "is_filtered": "Judges texts"})

MOST_ACKNOWLEDGEMENTS = 100_000
"""Rows. 1,000 servers keep the roll-outs of 100 releases, 40 servers those of 2,500. A row takes about 250 bytes."""
MOST_SERVERS = 5_000
PROCESS_KEPT_FOR = timedelta(hours=1)
"""Containers get a new name at each start, so PromptOps' own processes go by themselves."""
SERVER_KEPT_FOR = timedelta(days=90)

IDENTITY = ["name", "instance"]
WRITTEN = [
    field.name for field in Server._meta.concrete_fields if field.name not in ("id", "first_heard_at", *IDENTITY)
]


@transaction.atomic
def write(batch: Batch) -> None:
    """Write a batch: one statement for all servers, and one for the acknowledgements of each kind."""
    if batch.newcomers:
        _continue_from_before(batch)
    if batch.servers:
        Server.objects.bulk_create(batch.servers, update_conflicts=True, unique_fields=IDENTITY, update_fields=WRITTEN)
    if batch.acknowledgements:
        _write_acknowledgements(batch.acknowledgements)


def _continue_from_before(batch: Batch) -> None:
    """Replace earlier lives of the servers that have just registered. What they still run, they run since then."""
    names = {name for name, _ in batch.newcomers}
    silent_since = timezone.now() - SILENT_AFTER
    before: dict[str, list[Server]] = {}
    for row in Server.objects.filter(name__in=names):
        before.setdefault(row.name, []).append(row)
    replaced = []
    for server in batch.servers:
        if (server.name, server.instance) not in batch.newcomers:
            continue
        for row in before.get(server.name, []):
            if (row.revision, row.epoch, row.sha256) == (server.revision, server.epoch, server.sha256) and row.since:
                server.since = row.since
            is_gone = not row.is_connected or row.heard_at < silent_since or row.kind == ServerKind.PROCESS
            if row.instance != server.instance and is_gone:
                replaced.append(row.pk)
    if replaced:
        Server.objects.filter(pk__in=replaced).delete()


def _write_acknowledgements(acknowledged: list[Acknowledged]) -> None:
    released = dict(
        Release.objects.filter(revision__in={each.revision for each in acknowledged}).values_list("revision", "at")
    )
    rows = [
        Acknowledgement(
            revision=each.revision,
            server=each.server,
            instance=each.instance,
            kind=each.kind,
            outcome=each.outcome,
            at=each.at,
            # Clocks of two machines may differ a little.
            seconds=max(0.0, (each.at - released[each.revision]).total_seconds()),
            was_away=each.connected_at > released[each.revision],
            why=each.why,
        )
        for each in acknowledged
        if each.revision in released
    ]
    # The first of several equal answers counts: a server that reconnects runs the revision already, and one that
    # refused tries again. A server that refused or drifted may apply the revision later.
    keys = ["revision", "server", "instance"]
    before = Acknowledgement.objects.filter(revision__in=released, server__in={row.server for row in rows})
    known = set(before.values_list(*keys, "outcome"))
    news = [row for row in rows if (row.revision, row.server, row.instance, row.outcome) not in known]
    Acknowledgement.objects.bulk_create(
        news, update_conflicts=True, unique_fields=keys, update_fields=["outcome", "why", "at", "seconds", "was_away"]
    )


def prune() -> int:
    """Delete the acknowledgements of the oldest releases, and servers that left long ago. Return how many rows."""
    now = timezone.now()
    deleted = 0
    newest = Acknowledgement.objects.order_by("-pk").values_list("pk", flat=True).first()
    if newest is not None:
        bound = Acknowledgement.objects.filter(pk__lte=newest - MOST_ACKNOWLEDGEMENTS).order_by("-pk").first()
        if bound is not None:
            deleted += Acknowledgement.objects.filter(revision__lte=bound.revision).delete()[0]
    gone = Q(kind=ServerKind.PROCESS, heard_at__lt=now - PROCESS_KEPT_FOR) | Q(heard_at__lt=now - SERVER_KEPT_FOR)
    deleted += Server.objects.filter(gone).delete()[0]
    beyond = Server.objects.order_by("-heard_at").values_list("pk", flat=True)[MOST_SERVERS:]
    if beyond:
        deleted += Server.objects.filter(pk__in=list(beyond)).delete()[0]
    return deleted


@transaction.atomic
def forget(server: Server, *, by: Actor, note: str = "") -> None:
    """Remove a server that is no longer connected. Raises Refused while it still reports."""
    row = Server.objects.select_for_update().filter(pk=server.pk).first()
    if row is None:
        raise Refused(f"{server.name} is already removed.")
    if timezone.now() - row.heard_at < SILENT_AFTER:
        raise Refused(
            f"{row.name} still reports. Stop the server or revoke its token, then remove it when it is silent."
        )
    audit.record(
        "server.forgotten",
        by=by,
        object=row,
        before={
            "kind": row.kind,
            "revision": row.revision,
            "heard_at": row.heard_at.isoformat(timespec="seconds"),
        },
        note=note,
    )
    row.delete()
