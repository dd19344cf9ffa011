"""Enforcing the checks of a text before it goes live. The checks themselves are in `prompts.checks`."""

from promptops.prompts.checks import failures, run_checks
from promptops.prompts.errors import ChecksFailed
from promptops.prompts.live_variables import values_of
from promptops.prompts.models import Version


def check_text(version: Version, operation: str) -> None:
    """Raise ChecksFailed if the version's text may not go live.

    Call this after `next_revision`, because after that call the variables cannot change.
    """
    if failed := failures(run_checks(version.body, values_of(operation))):
        raise ChecksFailed(failed)
