"""The forms of the Prompts pages. Models and actions decide what may be stored."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from promptops.engine.inputs import input_of
from promptops.engine.messages import template_names
from promptops.engine.operations import MAX_NAME_CHARACTERS, OperationSpec
from promptops.platform.text import MAX_INPUT_CHARACTERS, clean_input
from promptops.prompts.actions.operations import MAX_FIELDS, OperationFields
from promptops.prompts.actions.variables import clean_value
from promptops.prompts.answer_forms import AnswerFields, answer_values
from promptops.prompts.answer_rules import hint as answer_rules_hint
from promptops.prompts.content import FIELDS, ORIGINAL, SETTINGS, TEXTS, Content
from promptops.prompts.enums import AnswerKind, InputKind, OnFailure
from promptops.prompts.models import Operation, Variable
from promptops.prompts.models.operations import FIELD_NAME
from promptops.prompts.models.variables import MAX_VALUE_CHARACTERS
from promptops.prompts.queries import operations
from promptops.texts.formats import number
from promptops.web.fields import SecondsField, in_seconds


def setting_field(name: str, *, label: str = "", required: bool = False, **options: Any) -> forms.Field:
    """Return the form field of a generation setting, with its limits."""
    setting = SETTINGS[name]
    label = label or setting.label
    if setting.choices:
        choices = [("", setting.default_words), *((each, each) for each in setting.choices)]
        return forms.ChoiceField(label=label, required=required, choices=choices, **options)
    if setting.rows:
        text_area = forms.Textarea(attrs={"rows": setting.rows, "dir": "auto", "spellcheck": "false"})
        options |= {"strip": False, "widget": text_area, "help_text": setting.help_text}
        field = forms.CharField(label=label, required=required, max_length=setting.max_characters, **options)
        field.widget.attrs.pop("maxlength", None)  # a browser would cut a pasted text without a word
        return field
    if setting.type is str:
        return forms.CharField(label=label, required=required, max_length=setting.max_characters, **options)
    kind = forms.FloatField if setting.type is float else forms.IntegerField
    limits: dict[str, Any] = {"min_value": setting.minimum, "max_value": setting.maximum, "step_size": setting.step}
    return kind(label=label, required=required, **limits, **options)


def show_when_empty(field: forms.Field, words: str) -> None:
    """Let an empty field of a setting show `words`."""
    if isinstance(field, forms.ChoiceField):
        _, *choices = field.choices  # type: ignore[misc]
        field.choices = [("", words), *choices]
    else:
        field.widget.attrs["placeholder"] = words


class ContentForm(forms.Form):
    """The editor: a text and its generation settings. Actions check the text, so that a draft may be unfinished."""

    body = forms.CharField(
        label="System prompt",
        required=False,
        strip=False,
        widget=forms.Textarea(
            attrs={"class": "editor", "spellcheck": "false", "rows": 18, "dir": "auto", "data-keep-scroll": ""}
        ),
    )
    base = forms.IntegerField(required=False, widget=forms.HiddenInput())
    # The id of the open page, the state of the draft that it loaded, and "1" to overwrite a newer draft. A browser
    # that restores form fields must not restore these.
    page = forms.CharField(required=False, max_length=36, widget=forms.HiddenInput(attrs={"autocomplete": "off"}))
    seen = forms.CharField(required=False, max_length=40, widget=forms.HiddenInput(attrs={"autocomplete": "off"}))
    overwrite = forms.CharField(required=False, max_length=1, widget=forms.HiddenInput(attrs={"autocomplete": "off"}))

    def __init__(
        self, *args: Any, defaults: Any = None, keep: str = "", spec: OperationSpec | None = None, **kwargs: Any
    ) -> None:
        """Take the live settings as `defaults`; empty fields show their values as placeholders.

        `keep` is the name under which the browser keeps text that is not saved yet. `spec` is the operation: hints
        say what its user template can use, and what its answer rules can be.
        """
        super().__init__(*args, **kwargs)
        self.fields |= {name: setting_field(name) for name in SETTINGS}
        self.order_fields(FIELDS)
        self.fields["body"].validators.clear()  # the actions explain a NUL better
        if keep:
            for name in FIELDS:
                self.fields[name].widget.attrs["data-keep"] = f"{keep}-{name}"
        if spec is not None:
            self._explain(spec)
        if defaults is not None:
            for name, setting in SETTINGS.items():
                show_when_empty(self.fields[name], setting.placeholder(defaults))

    def _explain(self, spec: OperationSpec) -> None:
        template, inputs = self.fields["user_template"], template_names(spec)
        template.widget.attrs["data-inputs"] = " ".join(inputs)
        names = ", ".join(f"{{{{ {name} }}}}" for name in inputs)
        template.help_text = f"{template.help_text} From the input: {names}."
        self.fields["answer_rules"].help_text = answer_rules_hint(spec)

    @property
    def settings(self) -> list[forms.BoundField]:
        """Return the fields of the settings that most prompts use."""
        return [self[name] for name in SETTINGS if name in ORIGINAL]

    @property
    def more_settings(self) -> list[forms.BoundField]:
        """Return the fields of the other settings, which the editor shows when somebody wants them."""
        return [self[name] for name in SETTINGS if name not in ORIGINAL and name not in TEXTS]

    @property
    def more_texts(self) -> list[forms.BoundField]:
        """Return the fields of the texts beside the system prompt, which the editor shows with the other settings."""
        return [self[name] for name in TEXTS]

    @property
    def more_set(self) -> list[str]:
        """Return the labels of the other settings that have a value."""
        return [
            str(field.label) for field in [*self.more_settings, *self.more_texts] if field.value() not in (None, "")
        ]

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


FIELD = "field-"
"""The prefix of the names of the fields of an input, in the form of "Try it"."""


def typed_input(spec: OperationSpec, data: Mapping[str, Any]) -> str:
    """Return the input that a person typed: one text, or the JSON object of the fields. Raises ValidationError."""
    if spec.input != InputKind.FIELDS:
        return clean_input(str(data.get("input", "")).replace("\r\n", "\n"))
    values = {field.name: str(data.get(f"{FIELD}{field.name}", "")).replace("\r\n", "\n") for field in spec.fields}
    try:
        return clean_input(input_of(spec, values))
    except ValueError as error:
        raise ValidationError(str(error)) from None


class InputFieldForm(forms.Form):
    """One field of an input. A row without a name is left out."""

    use_required_attribute = False
    name = forms.CharField(
        label="Name",
        required=False,
        validators=[FIELD_NAME],
        widget=forms.TextInput(attrs={"autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}),
    )
    description = forms.CharField(label="Description", required=False, max_length=200)
    max_characters = forms.IntegerField(label="At most", required=False, min_value=1, max_value=MAX_INPUT_CHARACTERS)
    optional = forms.BooleanField(label="Optional", required=False)

    def clean(self) -> None:
        fields = self.cleaned_data
        if not fields.get("name") and (fields.get("description") or fields.get("max_characters")):
            self.add_error("name", "Give the field a name, or empty its row.")

    @property
    def declared(self) -> dict[str, Any] | None:
        """Return the field as an operation stores it; None for an empty row."""
        fields = self.cleaned_data
        if not fields["name"]:
            return None
        return {
            "name": fields["name"],
            "description": fields["description"],
            "required": not fields["optional"],
            "max_characters": fields["max_characters"],
        }


class OperationForm(AnswerFields):
    """An operation, with a row for each field that its input may have. `expected` is as in `VariableForm`."""

    name = forms.CharField(
        label="Name",
        max_length=MAX_NAME_CHARACTERS,
        validators=Operation._meta.get_field("name").validators,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}),
        help_text="Lower-case letters, digits and _, such as next_segment. Servers ask for it; it cannot change later.",
    )
    purpose = forms.CharField(label="Purpose", max_length=200, help_text="One sentence, shown to operators.")
    input = forms.ChoiceField(label="Input", choices=InputKind.choices)
    input_label = forms.CharField(label="Label of the input", max_length=60, required=False)
    input_heading = forms.CharField(label="Heading of a shown input", max_length=60, required=False)
    on_failure = forms.ChoiceField(
        label="When nobody answers",
        choices=OnFailure.choices,
        help_text="An input goes on unchanged only if it is one text that the safety filter does not block.",
    )
    keeps_system = forms.BooleanField(
        label="Keep a caller's system text",
        required=False,
        help_text="Otherwise the live prompt replaces the system text of an OpenAI-compatible request.",
    )
    timeout_ms = SecondsField(
        label="Time limit of a run, in seconds",
        required=False,
        min_ms=500,
        max_ms=600_000,
        help_text="0.5 to 600. Empty: the setting.",
    )
    max_tokens = setting_field("max_tokens", help_text="If a prompt sets none. Empty: the setting.")
    hedge = forms.RegexField(
        r"\A(p95|[0-9]{1,2}(\.[0-9]{1,3})?)\Z",
        label="Hedge",
        required=False,
        widget=forms.TextInput(attrs={"placeholder": "off", "autocomplete": "off"}),
        error_messages={"invalid": "Leave this empty, or enter p95 or seconds up to 99.999, such as 0.8."},
        help_text="Also call the next provider if the first hasn't answered after this many seconds (or p95).",
    )
    retention_days = forms.IntegerField(
        label="Keep its texts, in days",
        required=False,
        min_value=1,
        max_value=3650,
        help_text="1 to 3,650: inputs and outputs of its runs. Empty: the setting.",
    )
    expected = forms.IntegerField(required=False, widget=forms.HiddenInput())

    def __init__(self, data: Any = None, *, operation: Operation | None = None, settings: Any = None) -> None:
        """Fill the form. Without `operation` it adds one. Empty fields show the live `settings` as placeholders."""
        initial = _operation_values(operation) if operation else {}
        super().__init__(data, initial=initial)
        declared = operation.fields if operation else []
        self.rows = [
            InputFieldForm(data, prefix=f"field-{place}", initial=_row_values(declared, place))
            for place in range(MAX_FIELDS)
        ]
        self.shown_rows = max(3, len(declared) + 1)
        if operation:
            del self.fields["name"]
            self.fields["expected"].required = True
        for name, value in (settings or {}).items():
            shown = self.fields[name].prepare_value(value)
            self.fields[name].widget.attrs["placeholder"] = number(shown)

    def is_valid(self) -> bool:
        return all([super().is_valid(), *(row.is_valid() for row in self.rows)])

    def clean(self) -> None:
        super().clean()
        fields = self.cleaned_data
        if fields.get("input") == InputKind.FIELDS and not any(row["name"].value() for row in self.rows):
            self.add_error("input", "An input of named fields needs at least one field.")
        if fields.get("on_failure") == OnFailure.INPUT and fields.get("input") in (InputKind.LIST, InputKind.FIELDS):
            self.add_error("on_failure", "Only an input of one text can go on unchanged. Choose another way.")
        elif fields.get("on_failure") == OnFailure.INPUT and fields.get("answer") == AnswerKind.JSON:
            self.add_error("on_failure", "An input cannot stand for a JSON answer. Choose another way.")

    def clean_hedge(self) -> str:
        """Return the hedge as it is stored, in milliseconds."""
        hedge: str = self.cleaned_data["hedge"]
        return hedge if hedge in ("", "p95") else str(round(float(hedge) * 1000))

    @property
    def has_own_limits(self) -> bool:
        """Return whether a limit or label is set, or wrong, so that the page opens them."""
        names = ("timeout_ms", "max_tokens", "hedge", "retention_days", "input_label", "input_heading")
        return any(self[name].value() not in (None, "") or self[name].errors for name in names)

    @property
    def values(self) -> OperationFields:
        """Return what a valid form says of the operation."""
        fields = self.cleaned_data
        own = ("fields", "answer")
        has_fields = fields["input"] == InputKind.FIELDS
        return OperationFields(
            **{name: fields[name] for name in OperationFields.__annotations__ if name not in own},
            answer=self.contract,
            fields=[field for row in self.rows if (field := row.declared)] if has_fields else [],
        )


def _operation_values(operation: Operation) -> dict[str, Any]:
    same = {
        name: getattr(operation, name) for name in OperationFields.__annotations__ if name not in ("fields", "answer")
    }
    if same["hedge"].isdecimal():
        same["hedge"] = in_seconds(int(same["hedge"]))
    return same | answer_values(operation.answer) | {"expected": operation.changed_revision}


def _row_values(declared: list[dict[str, Any]], place: int) -> dict[str, Any]:
    if place >= len(declared):
        return {}
    field = declared[place]
    return field | {"optional": not field["required"]}
