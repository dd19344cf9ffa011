"""The checks that a text passes before it is live."""

from promptops.prompts.checks import failures, run_checks
from promptops.prompts.errors import ChecksFailed
from promptops.prompts.live_variables import values_of
from promptops.prompts.models import Version


def check_text(version: Version, operation: str) -> None:
    """Raise ChecksFailed if the version's text may not be live.

    Call it after `next_revision`: from there on the variables cannot change.
    """
    if failed := failures(run_checks(version.body, values_of(operation))):
        raise ChecksFailed(failed)
