"""The form of the Settings page. Models and actions decide what may be stored."""

from dataclasses import fields
from typing import Any

from django import forms

from promptops.ledger.models import LiveConfiguration
from promptops.ledger.models.releases import DELETED_TOO_EARLY
from promptops.prompts.content import LIVE_DEFAULTS, SETTINGS
from promptops.prompts.forms import setting_field
from promptops.site.actions import Settings
from promptops.web.fields import SecondsField

FIELDS = tuple(field.name for field in fields(Settings))
SHORT = {"class": "w-short"}


def default_field(name: str) -> forms.Field:
    """Return the field of a generation setting's default, which counts where a prompt sets none."""
    setting = SETTINGS[name]
    return setting_field(
        name,
        label=f"Default {setting.label.lower()}",
        required=True,
        widget=forms.NumberInput(attrs=SHORT),
        help_text=f"{setting.range}, if a prompt sets none.",
    )


class SettingsForm(forms.Form):
    """The settings of the installation. `expected` is the revision of the last change that the person saw."""

    timeout_ms = SecondsField(
        label="Time limit of a run, in seconds",
        min_ms=500,
        max_ms=600_000,
        widget=forms.NumberInput(attrs=SHORT),
        help_text="0.5 to 600. Total for all attempts.",
    )
    run_retention_days = forms.IntegerField(
        label="Keep the text of runs, in days",
        min_value=1,
        max_value=3650,
        widget=forms.NumberInput(attrs=SHORT),
        help_text="1 to 3,650. Older inputs and outputs are erased; figures stay.",
    )
    run_deletion_days = forms.IntegerField(
        label="Delete runs after, in days",
        required=False,
        min_value=1,
        max_value=3650,
        widget=forms.NumberInput(attrs=SHORT | {"placeholder": "never"}),
        help_text="Empty: never. At least as long as their text. Comparisons, reviewed runs and totals stay.",
    )
    expected = forms.IntegerField(widget=forms.HiddenInput())

    def __init__(self, config: LiveConfiguration, *args: Any, **kwargs: Any) -> None:
        initial = {name: getattr(config, name) for name in FIELDS} | {"expected": config.settings_revision}
        super().__init__(*args, **kwargs | {"initial": initial})
        self.fields |= {name: default_field(name) for name in LIVE_DEFAULTS}
        self.order_fields([*FIELDS, "expected"])

    def clean(self) -> dict[str, Any]:
        kept, deleted = self.cleaned_data.get("run_retention_days"), self.cleaned_data.get("run_deletion_days")
        if kept and deleted and deleted < kept:
            self.add_error("run_deletion_days", DELETED_TOO_EARLY)
        return self.cleaned_data

    @property
    def settings(self) -> Settings:
        """The settings that a valid form holds."""
        return Settings(**{name: self.cleaned_data[name] for name in FIELDS})
