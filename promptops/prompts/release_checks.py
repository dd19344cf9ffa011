"""The checks of a text before it goes live, with the operation as it is live now."""

from promptops.prompts.checks import Check, contract_checks, failures, run_checks
from promptops.prompts.live_variables import values_of
from promptops.prompts.queries import operations


def release_checks(body: str, operation: str) -> list[Check]:
    """Return the checks of a text. A text that passes them is checked for contradictions of its contract, too."""
    values = values_of(operation)
    checks = run_checks(body, values)
    return checks if failures(checks) else [*checks, *contract_checks(body, values, operations.of(operation))]
