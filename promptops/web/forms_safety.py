"""Forms of the Safety page. What may be stored is decided by models and actions."""

from typing import Any

from django import forms

from promptops.enums import SafetyMode, WhenUnavailable
from promptops.models import SafetySettings

MODES = {
    SafetyMode.OFF: "No text is judged.",
    SafetyMode.SHADOW: "Input and output of each run are judged, and the verdicts recorded. Nothing is withheld.",
    SafetyMode.ENFORCE: "What is blocked is withheld; no text shows before all of it was judged.",
}


class ModeForm(forms.Form):
    """The mode, and what unavailable means. `expected` is the revision of the last change that the person saw."""

    mode = forms.ChoiceField(
        choices=SafetyMode.choices,
        widget=forms.RadioSelect,
        error_messages={"required": "Choose a mode.", "invalid_choice": "Choose a mode."},
    )
    when_unavailable = forms.ChoiceField(
        label="A text that cannot be judged",
        choices=WhenUnavailable.choices,
        widget=forms.Select(attrs={"class": "auto"}),
        help_text="Counts where the filter is enforced: while it fails, or for a text in a language it does not know.",
        error_messages={"required": "Choose one.", "invalid_choice": "Choose one."},
    )
    expected = forms.IntegerField(widget=forms.HiddenInput())

    def __init__(self, config: SafetySettings, *args: Any, **kwargs: Any) -> None:
        initial = {
            "mode": config.mode,
            "when_unavailable": config.when_unavailable,
            "expected": config.changed_revision,
        }
        super().__init__(*args, initial=initial, **kwargs)

    @property
    def modes(self) -> list[tuple[SafetyMode, str]]:
        """Each mode with what it means."""
        return list(MODES.items())
