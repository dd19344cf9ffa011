"""Background work on runs: erasing and deleting old ones, and following the newest run for hints to open pages."""

import logging

from django.conf import settings
from django.utils import timezone

from promptops.live import polling
from promptops.platform import background, events, space
from promptops.runs.actions.deleting import delete_expired
from promptops.runs.actions.erasing import erase_expired
from promptops.runs.actions.reports import forget_old
from promptops.runs.models import Run

log = logging.getLogger(__name__)

polling.head(events.RUN_RECORDED, lambda: Run.objects.order_by("-id").values("id")[:1])


@background.hourly
def erase_old_texts() -> None:
    """Erase the texts of runs that are older than the retention setting."""
    if erased := erase_expired():
        log.info("Erased the texts of %d expired runs.", erased)


@background.hourly
def forget_old_reports() -> None:
    """Delete the counts of runs on servers that are too old."""
    forget_old(timezone.now())


@background.hourly
def delete_old_runs() -> None:
    """Delete the runs that are older than the deletion setting, and give their space back to the disk."""
    if deleted := delete_expired():
        log.info("Deleted %d expired runs.", deleted)
    if freed := space.give_back():
        log.info("The database file is %.1f MB smaller.", freed / 1e6)
    elif deleted and space.needs_rewriting():
        log.info("The database file does not shrink yet. Run `%s vacuum` once, when nobody works.", settings.COMMAND)
