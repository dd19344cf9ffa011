"""The forms of signing in, one-time links, roles and one's own password. `actions` validates names and passwords."""

from typing import Any

from django import forms
from django.contrib.auth import authenticate
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from promptops.people.actions.tokens import MOST_DAYS, MOST_OVERLAP_DAYS, OVERLAP_DAYS
from promptops.people.enums import Role, Scope
from promptops.people.models import canonical_username


class SignInForm(AuthenticationForm):
    """User name and password. An invalid user name is refused before a password is hashed or a failure counted."""

    # Not Django's UsernameField, which turns other letters into ASCII ones (NFKC).
    username = forms.CharField(widget=forms.TextInput(attrs={"autofocus": True}))

    def clean(self) -> dict[str, Any]:
        if not canonical_username(self.cleaned_data.get("username", "")):
            raise self.get_invalid_login_error()
        self.cleaned_data["username"] = canonical_username(self.cleaned_data["username"])
        return super().clean()

    error_messages = AuthenticationForm.error_messages | {
        "invalid_login": "The user name or the password is wrong. Check both and try again."
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
        label="Repeat the password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def clean_password_again(self) -> str:
        again = self.cleaned_data["password_again"]
        if again != self.cleaned_data.get("password"):
            raise ValidationError("The two passwords differ. Type the same password twice.")
        return again


class JoinForm(PasswordForm):
    """A new account."""

    field_order = ["name", "username", "password", "password_again"]
    name = forms.CharField(
        label="Your name",
        max_length=100,
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
        help_text="Shown to colleagues next to your changes.",
    )
    username = forms.CharField(
        label="User name",
        max_length=60,
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"}),
        help_text="a-z, 0-9 and @ . + - _",
    )


class OwnPasswordForm(PasswordForm):
    """One's own new password, with the current one first."""

    field_order = ["present", "password", "password_again"]
    present = forms.CharField(
        label="Current password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request
        self.fields["password"].label = "New password"
        self.fields["password_again"].label = "Repeat the new password"

    def clean_present(self) -> str:
        return own_password(self.request, self.cleaned_data["present"])


def own_password(request: HttpRequest, password: str) -> str:
    """Return the password if it is the signed-in person's own; otherwise raise ValidationError.

    Failures are limited and recorded as at sign-in, so that nobody can guess the password on an open page.
    """
    if authenticate(request, username=request.user.username, password=password) is None:
        raise ValidationError("That is not your current password.")
    return password


class CodeForm(forms.Form):
    """A code of the app, or a recovery code."""

    code = forms.CharField(
        label="Code",
        max_length=40,
        widget=forms.TextInput(
            attrs={"autocomplete": "one-time-code", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )


class TurnOffForm(CodeForm):
    """The password and a code, to turn off the second step."""

    field_order = ["password", "code"]
    password = forms.CharField(
        label="Password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    def clean_password(self) -> str:
        return own_password(self.request, self.cleaned_data["password"])


class SubjectForm(forms.Form):
    """The account at the identity provider that a person signs in with."""

    subject = forms.CharField(
        label="Subject",
        max_length=255,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "class": "mono"}),
        error_messages={"required": "Enter the subject of the account."},
    )


class RoleForm(forms.Form):
    """A choice of role."""

    role = forms.ChoiceField(label="Role", choices=Role.choices, error_messages={"invalid_choice": "Choose a role."})


def _days(label: str, least: int, most: int, **facts: Any) -> forms.IntegerField:
    widget = forms.NumberInput(attrs={"class": "w-short", "min": least, "max": most})
    return forms.IntegerField(label=label, min_value=least, max_value=most, widget=widget, **facts)


class TokenForm(forms.Form):
    """A new token."""

    name = forms.CharField(
        label="Name",
        max_length=40,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="Of the machine or the job, such as gpu-fleet.",
    )
    scopes = forms.MultipleChoiceField(
        label="Scopes",
        choices=Scope.choices,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one scope.", "invalid_choice": "Choose scopes of the list."},
    )
    server = forms.CharField(
        label="Server",
        required=False,
        max_length=60,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="The only server that may use it. Empty: any.",
    )
    days = _days("Lifetime, in days", 1, MOST_DAYS, required=False, help_text="Empty: it does not expire.")


class RotationForm(forms.Form):
    """The overlap of a rotated token with the new one, and the new one's lifetime."""

    overlap_days = _days("The old token works for, in days", 0, MOST_OVERLAP_DAYS, initial=OVERLAP_DAYS)
    days = _days("Lifetime of the new token, in days", 1, MOST_DAYS, required=False, help_text="Empty: no end.")
