"""The needs of servers: an operation that they use is not archived."""

from datetime import timedelta

from django.utils import timezone

from promptops.engine.operations import OperationSpec
from promptops.prompts.operation_needs import needs_operation
from promptops.runs.enums import RunSource
from promptops.runs.models import ReportedRuns, Run

USED_WITHIN = timedelta(hours=24)


@needs_operation
def _uses(name: str, before: OperationSpec, after: OperationSpec | None) -> str:
    """Servers that ran the operation lately would get errors after it was archived."""
    if after is not None:
        return ""
    since = timezone.now() - USED_WITHIN
    reports = ReportedRuns.objects.filter(operation=name, hour__gt=since)
    if not (Run.objects.filter(operation=name, source=RunSource.API, at__gt=since).exists() or reports.exists()):
        return ""
    servers = list(reports.order_by("server").values_list("server", flat=True).distinct()[:3])
    named = f" ({', '.join(servers)})" if servers else ""
    hours = USED_WITHIN // timedelta(hours=1)
    return f"Servers{named} ran {name} in the last {hours} hours. Let them stop using it, and archive it then."
