"""The form of an operation that an import makes on the way. The whole form of an operation is in `forms`."""

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from promptops.engine.operations import MAX_NAME_CHARACTERS
from promptops.prompts.actions.importing import NewOperation, new_operation
from promptops.prompts.answer_forms import AnswerFields
from promptops.prompts.enums import InputKind
from promptops.prompts.models import Operation
from promptops.prompts.models.operations import FIELD_NAME

TEXT_ATTRIBUTES = {"autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}


class NewOperationForm(AnswerFields):
    """An operation in short: its name is enough. The other values have defaults, and can be changed later."""

    use_required_attribute = False  # the fields are hidden until somebody wants a new operation

    name = forms.CharField(
        label="Name",
        max_length=MAX_NAME_CHARACTERS,
        validators=Operation._meta.get_field("name").validators,
        widget=forms.TextInput(attrs=TEXT_ATTRIBUTES),
        help_text="Servers ask for it; it cannot change later.",
    )
    purpose = forms.CharField(
        label="Purpose",
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs={"placeholder": "One sentence, shown to operators"}),
    )
    input = forms.ChoiceField(label="Input", choices=InputKind.choices)
    field_names = forms.CharField(
        label="Names of the fields",
        max_length=600,
        required=False,
        widget=forms.TextInput(attrs=TEXT_ATTRIBUTES | {"placeholder": "scene, mood?"}),
        help_text="Separated by commas. A question mark makes a field optional.",
    )

    def __init__(self, data: Any = None, *, prefix: str, suggested: str = "") -> None:
        """Fill the form. `suggested` is the name of the template, of which the operation's name is made."""
        super().__init__(data, prefix=prefix, initial={"name": operation_name(suggested)})
        self.fields["schema"].widget.attrs["rows"] = 8

    def clean_field_names(self) -> str:
        names = self.cleaned_data["field_names"]
        if self.cleaned_data.get("input") != InputKind.FIELDS:
            return ""
        if not names.strip(", "):
            raise ValidationError("An input of named fields needs at least one field.")
        for name in names.replace(",", " ").split():
            FIELD_NAME(name.rstrip("?"))
        return names

    @property
    def operation(self) -> NewOperation:
        """Return the operation of a valid form."""
        fields = self.cleaned_data
        return new_operation(
            fields["name"],
            self.contract,
            purpose=fields["purpose"],
            input=fields["input"],
            field_names=fields["field_names"],
        )

    @property
    def problems(self) -> list[str]:
        """Return the errors as sentences, each with the label of its field."""
        labels = {name: str(field.label) for name, field in self.fields.items()}
        return [
            f"New operation, {labels.get(name, 'answer').lower()}: {' '.join(map(str, errors))}"
            for name, errors in self.errors.items()
        ]


def operation_name(template: str) -> str:
    """Return the name of a template as that of an operation: letters, digits and _, beginning with a letter."""
    return re.sub(r"\A[^a-z]+", "", template.replace("-", "_"))[:MAX_NAME_CHARACTERS].strip("_")
