"""The check that every action makes which names an operation."""

from django.core.exceptions import ValidationError

from promptops.prompts.models import Operation


def check_operation(name: str) -> None:
    """Raise ValidationError if the operation does not exist or is archived. Call it after a release has locked."""
    row = Operation.objects.filter(name=name).only("archived_at").first()
    if row is None:
        raise ValidationError({"operation": f"There is no operation {name or 'without a name'}. Choose another one."})
    if row.archived_at:
        raise ValidationError({"operation": f"The operation {name} is archived. Restore it first."})
