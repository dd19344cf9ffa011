"""Enforcing the checks of a text before it goes live. The checks themselves are in `prompts.checks`."""

from promptops.engine.operations import OperationSpec
from promptops.prompts.checks import ANSWER_RULES, USER_TEMPLATE, check_content, failures
from promptops.prompts.errors import ChecksFailed
from promptops.prompts.live_operations import spec_of
from promptops.prompts.live_variables import values_of
from promptops.prompts.models import Template, Version
from promptops.prompts.operation_needs import needs_operation


def check_text(version: Version, operation: str) -> None:
    """Raise ChecksFailed if a text of the version may not go live.

    Call this after `next_revision`, because after that call variables and operations cannot change.
    """
    if failed := failures(check_content(version, values_of(operation), spec_of(operation))):
        raise ChecksFailed(failed)


@needs_operation
def _user_templates(name: str, before: OperationSpec, after: OperationSpec | None) -> str:
    """Live user templates must fit the input, and no variable may have the name of a field. Archiving keeps them."""
    if after is None or (before.input, before.fields, before.answer) == (after.input, after.fields, after.answer):
        return ""
    values = values_of(name)
    if clash := next((field.name for field in after.fields if field.name in values), None):
        return f"{name} has a variable {clash}. Rename the field, or remove the variable first."
    users = Template.objects.filter(operation=name, archived_at=None).exclude(live_version__user_template=None)
    for template in users.exclude(live_version=None).select_related("live_version"):
        checks = check_content(template.live_version, values, after)
        if failed := failures([check for check in checks if check.name == USER_TEMPLATE]):
            return f"{template.name} is live and would no longer fit. {failed[0]} Publish a user template that fits."
    return ""


@needs_operation
def _answer_rules(name: str, before: OperationSpec, after: OperationSpec | None) -> str:
    """Live answer rules must fit the answer. Archiving keeps them."""
    if after is None or (before.answer, before.contract) == (after.answer, after.contract):
        return ""
    users = Template.objects.filter(operation=name, archived_at=None).exclude(live_version__answer_rules=None)
    for template in users.exclude(live_version=None).select_related("live_version"):
        checks = check_content(template.live_version, values_of(name), after)
        if failed := failures([check for check in checks if check.name == ANSWER_RULES]):
            return f"{template.name} is live and would no longer fit. {failed[0]}"
    return ""
