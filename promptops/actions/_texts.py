"""The checks that a text passes before it is live."""

from promptops.checks import failures, run_checks
from promptops.ledger.errors import ChecksFailed
from promptops.live_parts.variables import values_of
from promptops.models import Version


def check_text(version: Version, operation: str) -> None:
    """Raise ChecksFailed if the version's text may not be live.

    Call it after `next_revision`: from there on the variables cannot change.
    """
    if failed := failures(run_checks(version.body, values_of(operation))):
        raise ChecksFailed(failed)
