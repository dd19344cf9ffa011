"""Forms: parsing and first checks; what may be stored is decided by models and actions."""

from typing import Any

from django import forms
from django.contrib.auth import authenticate
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from promptops.engine.drills import FAULTS
from promptops.people.models import canonical_username
from promptops.prompts.actions.variables import clean_value
from promptops.prompts.content import FIELDS, SETTINGS, Content
from promptops.prompts.enums import operation_choices
from promptops.prompts.models import Variable
from promptops.prompts.models.variables import MAX_VALUE_CHARACTERS
from promptops.runs.actions.runs import MAX_COUNT


class SignInForm(AuthenticationForm):
    """User name and password. What cannot be a user name is refused before a password is hashed, or a try counted."""

    # Not Django's UsernameField, which turns other letters into ASCII ones (NFKC).
    username = forms.CharField(widget=forms.TextInput(attrs={"autofocus": True}))

    def clean(self) -> dict[str, Any]:
        if not canonical_username(self.cleaned_data.get("username", "")):
            raise self.get_invalid_login_error()
        self.cleaned_data["username"] = canonical_username(self.cleaned_data["username"])
        return super().clean()

    error_messages = AuthenticationForm.error_messages | {
        "invalid_login": "The user name and the password do not match. Check both and try again."
    }


class PasswordForm(forms.Form):
    """A new password, twice."""

    password = forms.CharField(
        label="Password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least 10 characters.",
    )
    password_again = forms.CharField(
        label="Password, once more",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def clean_password_again(self) -> str:
        again = self.cleaned_data["password_again"]
        if again != self.cleaned_data.get("password"):
            raise ValidationError("The two passwords differ. Type the same one twice.")
        return again


class JoinForm(PasswordForm):
    """A new account."""

    field_order = ["name", "username", "password", "password_again"]
    name = forms.CharField(
        label="Your name",
        max_length=100,
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
        help_text="As colleagues see it beside what you change.",
    )
    username = forms.CharField(
        label="User name",
        max_length=60,
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"}),
        help_text="Letters from a to z, digits and @ . + - _ only.",
    )


class OwnPasswordForm(PasswordForm):
    """One's own password: the present one first."""

    field_order = ["present", "password", "password_again"]
    present = forms.CharField(
        label="Current password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    def clean_present(self) -> str:
        present = self.cleaned_data["present"]
        # As at sign-in: failures are limited and recorded, so that an open page is no place to guess.
        if authenticate(self.request, username=self.request.user.username, password=present) is None:
            raise ValidationError("That is not your current password.")
        return present


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
    # Which open page this is, the state of the draft that it was filled from, and "1" to save over a newer one. A
    # browser that restores what forms held must not restore these.
    page = forms.CharField(required=False, max_length=36, widget=forms.HiddenInput(attrs={"autocomplete": "off"}))
    seen = forms.CharField(required=False, max_length=40, widget=forms.HiddenInput(attrs={"autocomplete": "off"}))
    overwrite = forms.CharField(required=False, max_length=1, widget=forms.HiddenInput(attrs={"autocomplete": "off"}))

    def __init__(self, *args: Any, defaults: Any = None, keep: str = "", **kwargs: Any) -> None:
        """`defaults` is the live settings, whose values stand as placeholders in empty fields.

        `keep` is the name under which the browser keeps what no server has yet.
        """
        super().__init__(*args, **kwargs)
        self.fields |= {name: setting_field(name) for name in SETTINGS}
        self.order_fields(FIELDS)
        self.fields["body"].validators.clear()  # the actions have a clearer word for a NUL
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
        """What a valid form holds."""
        return Content(**{name: self.cleaned_data[name] for name in FIELDS})


class TryForm(forms.Form):
    """The "Try it" panel: what to run (`editor` or a version's number), where (`chain` or a provider's id), on what."""

    template = forms.CharField(max_length=60)
    what = forms.RegexField(
        r"\A(editor|\d{1,9})\Z", error_messages={"invalid": "Choose the editor's text or a version."}
    )
    where = forms.RegexField(r"\A(chain|\d{1,18})\Z", error_messages={"invalid": "Choose the chain or one provider."})
    input = forms.CharField(required=False, strip=False)
    count = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MAX_COUNT,
        error_messages={
            "min_value": "Ask for at least 1 alternative.",
            "max_value": f"Ask for at most {MAX_COUNT} alternatives.",
        },
    )
    fault = forms.ChoiceField(
        required=False,
        choices=[("", ""), *((fault, fault) for fault in FAULTS)],
        error_messages={"invalid_choice": "Choose one of the faults for the drill."},
    )
    faulty = forms.RegexField(
        r"\A\d{1,18}\Z", required=False, error_messages={"invalid": "Choose the provider for the drill."}
    )


class TemplateForm(forms.Form):
    """A new template."""

    operation = forms.ChoiceField(label="Operation", choices=operation_choices)
    name = forms.CharField(
        label="Name",
        max_length=60,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}),
        help_text="Lower-case letters, digits, - and _, such as enhance-noir. It cannot be changed later.",
    )
    description = forms.CharField(label="What it is for", max_length=200, required=False)


class DescriptionForm(forms.Form):
    """What a template is for."""

    description = forms.CharField(label="What it is for", max_length=200, required=False)


class VariableForm(forms.Form):
    """A variable of an operation. `expected` is the revision of the last change that the person saw."""

    operation = forms.ChoiceField(label="Operation", choices=operation_choices)
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
        help_text="Put into the text as it is, at most 4,000 characters; braces in it mean nothing.",
    )
    description = forms.CharField(label="What it is for", max_length=200, required=False)
    expected = forms.IntegerField(required=False, widget=forms.HiddenInput())

    @classmethod
    def of(cls, variable: Variable, data: Any = None) -> "VariableForm":
        """The form of a variable that is declared: operation and name stay."""
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
