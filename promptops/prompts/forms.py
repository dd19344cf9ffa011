"""The forms of the Prompts pages. Models and actions decide what may be stored."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from promptops.prompts.actions.variables import clean_value
from promptops.prompts.content import FIELDS, SETTINGS, Content
from promptops.prompts.models import Variable
from promptops.prompts.models.variables import MAX_VALUE_CHARACTERS
from promptops.prompts.queries import operations


def setting_field(name: str, *, label: str = "", required: bool = False, **options: Any) -> forms.Field:
    """Return the form field of a generation setting, with its limits."""
    setting = SETTINGS[name]
    label = label or setting.label
    if setting.type is str:
        return forms.CharField(label=label, required=required, max_length=setting.max_characters, **options)
    kind = forms.FloatField if setting.type is float else forms.IntegerField
    limits: dict[str, Any] = {"min_value": setting.minimum, "max_value": setting.maximum, "step_size": setting.step}
    return kind(label=label, required=required, **limits, **options)


class ContentForm(forms.Form):
    """The editor: a text and its generation settings. Actions check the text, so that a draft may be unfinished."""

    body = forms.CharField(
        label="System prompt",
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"class": "editor", "spellcheck": "false", "rows": 18, "dir": "auto"}),
    )
    base = forms.IntegerField(required=False, widget=forms.HiddenInput())
    # The id of the open page, the state of the draft that it loaded, and "1" to overwrite a newer draft. A browser
    # that restores form fields must not restore these.
    page = forms.CharField(required=False, max_length=36, widget=forms.HiddenInput(attrs={"autocomplete": "off"}))
    seen = forms.CharField(required=False, max_length=40, widget=forms.HiddenInput(attrs={"autocomplete": "off"}))
    overwrite = forms.CharField(required=False, max_length=1, widget=forms.HiddenInput(attrs={"autocomplete": "off"}))

    def __init__(self, *args: Any, defaults: Any = None, keep: str = "", **kwargs: Any) -> None:
        """Take the live settings as `defaults`; empty fields show their values as placeholders.

        `keep` is the name under which the browser keeps text that is not saved yet.
        """
        super().__init__(*args, **kwargs)
        self.fields |= {name: setting_field(name) for name in SETTINGS}
        self.order_fields(FIELDS)
        self.fields["body"].validators.clear()  # the actions explain a NUL better
        if keep:
            for name in FIELDS:
                self.fields[name].widget.attrs["data-keep"] = f"{keep}-{name}"
        if defaults is not None:
            for name, setting in SETTINGS.items():
                self.fields[name].widget.attrs["placeholder"] = setting.placeholder(defaults)

    @property
    def settings(self) -> list[forms.BoundField]:
        """Return the fields of the generation settings."""
        return [self[name] for name in SETTINGS]

    @property
    def content(self) -> Content:
        """Return the content of a valid form."""
        return Content(**{name: self.cleaned_data[name] for name in FIELDS})


class TemplateForm(forms.Form):
    """A new template."""

    operation = forms.ChoiceField(label="Operation", choices=operations.live_choices)
    name = forms.CharField(
        label="Name",
        max_length=60,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}),
        help_text="Lower-case letters, digits, - and _, such as enhance-noir. It cannot be changed later.",
    )
    description = forms.CharField(label="Description", max_length=200, required=False)


class DescriptionForm(forms.Form):
    """The description of a template."""

    description = forms.CharField(label="Description", max_length=200, required=False)


class VariableForm(forms.Form):
    """A variable of an operation. `expected` is the revision of the last change that the page showed."""

    operation = forms.ChoiceField(label="Operation", choices=operations.live_choices)
    name = forms.CharField(
        label="Name",
        max_length=40,
        validators=Variable._meta.get_field("name").validators,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}),
        help_text="Lower-case letters, digits and _, such as house_style. It cannot be changed later.",
    )
    value = forms.CharField(
        label="Value",
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 5, "dir": "auto", "maxlength": MAX_VALUE_CHARACTERS}),
        help_text="At most 4,000 characters. Inserted as it is; braces in it have no meaning.",
    )
    description = forms.CharField(label="Description", max_length=200, required=False)
    expected = forms.IntegerField(required=False, widget=forms.HiddenInput())

    @classmethod
    def of(cls, variable: Variable, data: Any = None) -> "VariableForm":
        """Return the form of an existing variable, whose operation and name cannot change."""
        initial = {"value": variable.value, "description": variable.description}
        form = cls(data, initial=initial | {"expected": variable.changed_revision})
        del form.fields["operation"], form.fields["name"]
        form.fields["expected"].required = True
        return form

    def clean_value(self) -> str:
        try:
            return clean_value(self.cleaned_data["value"])
        except ValidationError as error:
            raise ValidationError(error.messages) from None
