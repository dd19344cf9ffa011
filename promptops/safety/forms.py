"""Forms of the Safety page. What may be stored is decided by models and actions."""

from typing import Any

from django import forms

from promptops.engine.safety.guard import SafetyCategory
from promptops.runs.enums import SafetyMode
from promptops.safety.actions.safety import HIGHEST, LOWEST, Term
from promptops.safety.enums import SafetyTermKind, WhenUnavailable
from promptops.safety.models import SafetySettings

MODES = {
    SafetyMode.OFF: "No text is judged.",
    SafetyMode.SHADOW: "Input and output of each run are judged, and the verdicts recorded. Nothing is withheld.",
    SafetyMode.ENFORCE: "What is blocked is withheld; no text shows before all of it was judged.",
}


BUTTONS = {
    SafetyMode.OFF: "Turn the safety filter off",
    SafetyMode.SHADOW: "Use shadow mode: record verdicts, block nothing",
}
BLOCK, ALLOW = WhenUnavailable.BLOCK, WhenUnavailable.ALLOW
ENFORCED = {
    (BLOCK, BLOCK): "block harmful and unjudged texts",
    (ALLOW, ALLOW): "block harmful texts, let unjudged ones pass",
    (ALLOW, BLOCK): "block harmful texts, let unknown languages pass",
    (BLOCK, ALLOW): "block harmful texts and unknown languages",
}
"""What enforcing does, by the choices for an unknown language and for a filter that is down."""


class ModeForm(forms.Form):
    """The mode, and what becomes of texts that cannot be judged.

    `expected` is the revision of the last change that the person saw.
    """

    mode = forms.ChoiceField(
        label="Mode",
        choices=SafetyMode.choices,
        widget=forms.RadioSelect,
        error_messages={"required": "Choose a mode.", "invalid_choice": "Choose a mode."},
    )
    when_language = forms.ChoiceField(
        label="If the language is unknown",
        choices=WhenUnavailable.choices,
        widget=forms.Select(attrs={"class": "auto"}),
        help_text="Applies in enforce mode. The filter reads English; it calls no other language harmful.",
        error_messages={"required": "Choose one.", "invalid_choice": "Choose one."},
    )
    when_down = forms.ChoiceField(
        label="If the filter is down",
        choices=WhenUnavailable.choices,
        widget=forms.Select(attrs={"class": "auto"}),
        help_text="Applies in enforce mode, to every text while the model can't be loaded or fails.",
        error_messages={"required": "Choose one.", "invalid_choice": "Choose one."},
    )
    expected = forms.IntegerField(widget=forms.HiddenInput())

    def __init__(self, config: SafetySettings, *args: Any, **kwargs: Any) -> None:
        initial = {
            "mode": config.mode,
            "when_language": config.when_language,
            "when_down": config.when_down,
            "expected": config.changed_revision,
        }
        super().__init__(*args, **kwargs | {"initial": initial})

    @property
    def button(self) -> str:
        """What releasing these valid values does, as the button says it."""
        choices = self.cleaned_data["when_language"], self.cleaned_data["when_down"]
        return BUTTONS.get(self.cleaned_data["mode"]) or "Enforce: " + ENFORCED[choices]

    @property
    def modes(self) -> list[tuple[SafetyMode, str]]:
        """Each mode with what it means."""
        return list(MODES.items())


DIGITS = 4
"""Of a threshold, as pages show it; one that is typed back as it was shown is no change."""


class ThresholdsForm(forms.Form):
    """A threshold for each category of the live model. What is missing in `data` stays as it is.

    `now` and `own` are the thresholds that hold, and those that the model was released with.
    """

    expected = forms.IntegerField(widget=forms.HiddenInput(), required=False)

    def __init__(self, config: SafetySettings, data: Any = None) -> None:
        self.own = {name: float(value) for name, value in config.model.manifest.get("thresholds", {}).items()}
        self.set = {name: float(value) for name, value in config.thresholds.items()}
        self.now = {**self.own, **self.set}
        shown = {name: f"{value:.{DIGITS}f}" for name, value in self.now.items()}
        initial = {"expected": config.changed_revision}
        given = {name: value for name, value in (data or {}).items() if name in shown or name == "expected"}
        super().__init__({**initial, **shown, **given}, initial=initial)
        for name in sorted(self.now):
            label = name.replace("_", "-")
            wrong = f"The threshold of {label} must be a number from {LOWEST} to {HIGHEST:.0f}."
            errors = dict.fromkeys(("required", "invalid", "min_value", "max_value"), wrong)
            self.fields[name] = forms.FloatField(
                label=label, min_value=LOWEST, max_value=HIGHEST, error_messages=errors
            )

    @property
    def categories(self) -> list[dict[str, Any]]:
        """Each category as the page shows it."""
        return [
            {"field": self[name], "now": self.now[name], "own": f"{self.own.get(name, HIGHEST):.{DIGITS}f}"}
            for name in sorted(self.now)
        ]

    @property
    def changed_from_now(self) -> list[str]:
        """The categories whose field says something else than what holds."""
        return [name for name, value in self.now.items() if self.data[name] != f"{value:.{DIGITS}f}"]

    @property
    def stored(self) -> dict[str, float]:
        """The thresholds to set: those that are not the model's own."""
        found = {}
        for name, before in self.now.items():
            typed = self.cleaned_data[name]
            value = before if round(typed, DIGITS) == round(before, DIGITS) else typed
            if round(value, DIGITS) != round(self.own.get(name, -1), DIGITS):
                found[name] = value
        return found

    @property
    def proposed(self) -> dict[str, float]:
        """All thresholds as they would hold."""
        return {**self.own, **self.stored}


MAX_LINES = 200
"""Terms that one form adds."""


class TermsForm(forms.Form):
    """Terms to add, one a line, all of one kind and category."""

    kind = forms.ChoiceField(
        label="They are",
        choices=[(SafetyTermKind.DENY, "denied"), (SafetyTermKind.ALLOW, "allowed")],
        widget=forms.Select(),
        error_messages={"required": "Allow or deny?", "invalid_choice": "Allow or deny?"},
    )
    category = forms.ChoiceField(
        label="Blocked as",
        choices=[(category.value, category.value.replace("_", "-")) for category in SafetyCategory],
        initial=SafetyCategory.OTHER.value,
        help_text="Counts for deny terms.",
        error_messages={"required": "Choose a category.", "invalid_choice": "Choose a category."},
    )
    terms = forms.CharField(
        label="Terms, one a line",
        widget=forms.Textarea(attrs={"rows": 5, "spellcheck": "false", "dir": "auto"}),
        help_text="Words that stand one after the other, however they are written. A last * stands for the rest of a "
        "word: gambl* finds gambling.",
        error_messages={"required": "Type a term first."},
    )

    def clean_terms(self) -> str:
        """At most MAX_LINES of them."""
        typed: str = self.cleaned_data["terms"]
        count = len([line for line in typed.splitlines() if line.strip()])
        if count > MAX_LINES:
            raise forms.ValidationError(f"These are {count:,} terms; add at most {MAX_LINES} at once.")
        return typed

    @property
    def new(self) -> list[Term]:
        """The terms as they were typed, blank lines left out."""
        kind, lines = self.cleaned_data["kind"], self.cleaned_data["terms"].splitlines()
        category = self.cleaned_data["category"] if kind == SafetyTermKind.DENY else ""
        return [Term(kind, line, category) for line in lines if line.strip()]
