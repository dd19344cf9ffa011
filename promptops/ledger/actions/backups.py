"""Backups in the audit: one was made, or the database was put back from one."""

from django.db import transaction

from promptops.ledger import audit, registry
from promptops.ledger.audit import COMMAND_LINE, Actor
from promptops.ledger.models import LiveConfiguration
from promptops.ledger.models.releases import new_epoch
from promptops.ledger.registry import Action

registry.noun("backup", "Backups")
registry.register(
    Action(
        "backup.made",
        "{actor} made a backup",
        when="`manage.py backup` made a backup; the entry comes after what the backup holds",
        is_change=False,
    ),
    Action(
        "backup.restored",
        "{actor} restored the backup of {after[made_at]}",
        when="`manage.py restore` put a backup back; entries after the backup's head are lost, and a new epoch began",
    ),
)


@transaction.atomic
def record_backup(head: str, *, by: Actor = COMMAND_LINE) -> None:
    """Record that a backup was made whose audit ends at `head`."""
    audit.record("backup.made", by=by, object_name="the database", after={"audit_head": head})


@transaction.atomic
def record_restore(made_at: str, head: str, *, by: Actor = COMMAND_LINE) -> None:
    """Start a new epoch, and record that a backup was put back; its audit ended at `head`."""
    config = LiveConfiguration.objects.select_for_update().get(pk=1)
    before, config.epoch, config.pins_from = config.epoch, new_epoch(), 0
    config.save(update_fields=["epoch", "pins_from"])
    audit.record(
        "backup.restored",
        by=by,
        object_name="the database",
        before={"epoch": before},
        after={"epoch": config.epoch, "made_at": made_at, "audit_head": head},
    )
