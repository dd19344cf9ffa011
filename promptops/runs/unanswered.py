"""What happens when nobody answers: an error, the input unchanged, or an error that says to keep what runs."""

from promptops.engine.errors import LLMProviderError
from promptops.prompts.enums import OnFailure
from promptops.runs.enums import RunSource, RunStatus
from promptops.runs.plans import Outcome, RunPlan

REFUSED = "refused"
"""The kind of error of a provider that declined a text for its content. Such a text does not go on unchanged."""


def settle(plan: RunPlan, outcome: Outcome, failure: LLMProviderError) -> None:
    """Fill in the outcome of a run that ended with `failure`.

    Only a preview and a server's run follow the operation: a comparison asks for the arm's own answer, and a test for
    the provider's. An input that the safety filter blocked never comes here, because such a run calls no provider.
    """
    outcome.status, outcome.error, outcome.error_kind = RunStatus.FAILED, str(failure), failure.kind
    if plan.source in (RunSource.COMPARISON, RunSource.TEST):
        return
    on_failure = plan.spec.on_failure
    was_declined = REFUSED in {failure.kind, *(attempt.error_kind for attempt in outcome.attempts)}
    if on_failure == OnFailure.INPUT and not was_declined:
        outcome.status = RunStatus.UNCHANGED
    elif on_failure == OnFailure.HOLD:
        outcome.error = f"{outcome.error.rstrip('.')}. Nobody answered: keep what runs."
