"""The checks of a content before it goes live, with the operation as it is live now."""

from typing import Any

from promptops.prompts.checks import Check, check_content, contract_checks, failures
from promptops.prompts.live_operations import spec_of
from promptops.prompts.live_variables import values_of


def release_checks(content: Any, operation: str) -> list[Check]:
    """Return the checks of the texts. If they pass, the prompt is checked for contradictions of its contract, too."""
    values, spec = values_of(operation), spec_of(operation)
    checks = check_content(content, values, spec)
    return checks if failures(checks) else [*checks, *contract_checks(content, values, spec)]
