"""Forms of the Settings pages. What may be stored is decided by models and actions."""

from typing import Any

from django import forms

from promptops.actions.settings import Settings
from promptops.enums import Role
from promptops.models import LiveConfiguration

FIELDS = (
    "timeout_ms",
    "temperature",
    "max_tokens",
    "run_retention_days",
    "hedge_enhance",
    "hedge_auto_extend",
    "hedge_rewrite",
)
SHORT = {"class": "w-short"}


def hedge_field(operation: str) -> forms.RegexField:
    """The hedging of one operation."""
    return forms.RegexField(
        r"\A(p95|[0-9]{1,5})\Z",
        label=f"Hedge {operation}",
        required=False,
        widget=forms.TextInput(attrs=SHORT | {"placeholder": "off", "autocomplete": "off"}),
        error_messages={"invalid": "Leave it empty, or give p95 or milliseconds up to 99999."},
        help_text="Ask the next provider too when the first is silent for so many ms; p95: for longer than usual.",
    )


class SettingsForm(forms.Form):
    """The settings of the whole place. `expected` is the revision of the last change that the person saw."""

    timeout_ms = forms.IntegerField(
        label="Time limit of a run, in ms",
        min_value=500,
        max_value=600_000,
        widget=forms.NumberInput(attrs=SHORT),
        help_text="500 to 600,000. All attempts together end within it.",
    )
    temperature = forms.FloatField(
        label="Default temperature",
        min_value=0,
        max_value=2,
        step_size=0.05,
        widget=forms.NumberInput(attrs=SHORT),
        help_text="0 to 2, where a prompt sets none.",
    )
    max_tokens = forms.IntegerField(
        label="Default max tokens",
        min_value=1,
        max_value=32768,
        widget=forms.NumberInput(attrs=SHORT),
        help_text="1 to 32,768, where a prompt sets none.",
    )
    run_retention_days = forms.IntegerField(
        label="Keep the text of runs, in days",
        min_value=1,
        max_value=3650,
        widget=forms.NumberInput(attrs=SHORT),
        help_text="1 to 3,650. Then inputs and outputs are erased; the figures stay.",
    )
    hedge_enhance = hedge_field("enhance")
    hedge_auto_extend = hedge_field("auto_extend")
    hedge_rewrite = hedge_field("rewrite")
    expected = forms.IntegerField(widget=forms.HiddenInput())

    def __init__(self, config: LiveConfiguration, *args: Any, **kwargs: Any) -> None:
        initial = {name: getattr(config, name) for name in FIELDS} | {"expected": config.settings_revision}
        super().__init__(*args, **kwargs | {"initial": initial})

    @property
    def settings(self) -> Settings:
        """What a valid form holds."""
        return Settings(**{name: self.cleaned_data[name] for name in FIELDS})


class RoleForm(forms.Form):
    """A role for somebody."""

    role = forms.ChoiceField(label="Role", choices=Role.choices, error_messages={"invalid_choice": "Choose a role."})
