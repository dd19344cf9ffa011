"""Forms of the Alerts page. The rules for storing are in `alerts.actions.destinations`."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from promptops.alerts.actions.destinations import MOST_ADDRESS_CHARACTERS, DestinationFields, Rules
from promptops.alerts.enums import DestinationKind
from promptops.alerts.kinds import KINDS
from promptops.alerts.models import LONGEST_NAME, MOST_HOLD_MINUTES, AlertRules, Destination

PLAIN = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}


class ActionForm(forms.Form):
    """A form that can show the refusal of an action beside the fields that it names."""

    def show(self, error: ValidationError) -> None:
        """Show the errors of the action."""
        if not hasattr(error, "error_dict"):
            self.add_error(None, error)
            return
        for field, errors in error.error_dict.items():
            self.add_error(field if field in self.fields else None, errors)


class DestinationForm(ActionForm):
    """A destination of one kind, new or stored. A stored address is never sent back to the page."""

    name = forms.CharField(
        label="Name",
        max_length=LONGEST_NAME,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        help_text="Of the team or the system, such as On call.",
    )
    address = forms.CharField(
        label="Address",
        max_length=MOST_ADDRESS_CHARACTERS,
        widget=forms.URLInput(attrs=PLAIN),
    )
    recipients = forms.CharField(
        label="Recipients",
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 3, **PLAIN}),
        help_text="One e-mail address a line. All of them see each other.",
    )
    alerts = forms.MultipleChoiceField(
        label="Alerts",
        choices=[(kind.name, kind.label) for kind in KINDS.values()],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one kind of alert."},
    )
    hold_minutes = forms.IntegerField(
        label="Minimum duration, in minutes",
        min_value=0,
        max_value=MOST_HOLD_MINUTES,
        initial=1,
        widget=forms.NumberInput(attrs={"class": "w-short"}),
        help_text="A condition that ends sooner is not sent. Releases are always sent.",
    )
    expected = forms.IntegerField(widget=forms.HiddenInput, required=False)

    def __init__(self, kind: str, *args: Any, destination: Destination | None = None, **options: Any) -> None:
        self.kind = kind
        if destination is not None:
            options["initial"] = {
                "name": destination.name,
                "recipients": "\n".join(destination.recipients),
                "alerts": destination.alerts,
                "hold_minutes": destination.hold_minutes,
                "expected": destination.edition,
            }
        super().__init__(*args, **options)
        del self.fields["recipients" if kind == DestinationKind.WEBHOOK else "address"]
        if "address" in self.fields:
            is_stored = destination is not None and bool(destination.address_encrypted)
            self.fields["address"].required = not is_stored
            self.fields["address"].help_text = (
                f"Leave it empty to keep the stored one at {destination.origin}."
                if is_stored and destination
                else "Stored encrypted; only its host is shown later. Use https outside of a private network."
            )

    @property
    def chosen(self) -> set[str]:
        """Return the names of the chosen kinds of alerts."""
        return set(self["alerts"].value() or ())

    @property
    def values(self) -> DestinationFields:
        """Return the values of a valid form."""
        facts = self.cleaned_data
        return DestinationFields(
            name=facts["name"],
            kind=self.kind,
            alerts=tuple(facts["alerts"]),
            hold_minutes=facts["hold_minutes"],
            address=facts.get("address", ""),
            recipients=tuple(facts.get("recipients", "").splitlines()),
        )


class RulesForm(ActionForm):
    """The error rate of runs that is an alert."""

    error_percent = forms.IntegerField(label="Runs without an answer, in percent", min_value=1, max_value=100)
    error_runs = forms.IntegerField(label="Of at least, in runs", min_value=1, max_value=5_000)
    error_minutes = forms.IntegerField(label="In the last, in minutes", min_value=1, max_value=1_440)
    expected = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, rules: AlertRules, data: QueryDict | None = None) -> None:
        initial = {name: getattr(rules, name) for name in ("error_percent", "error_runs", "error_minutes")}
        super().__init__(data, initial=initial | {"expected": rules.edition})

    @property
    def values(self) -> Rules:
        """Return the values of a valid form."""
        facts = self.cleaned_data
        return Rules(facts["error_percent"], facts["error_minutes"], facts["error_runs"])
