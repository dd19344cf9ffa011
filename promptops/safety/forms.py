"""Forms of the Safety pages: reading what a person typed, with labels and messages.

Models and actions decide which values may be stored.
"""

from collections.abc import Mapping
from copy import copy
from typing import Any

from django import forms

from promptops.engine.safety.guard import SafetyCategory
from promptops.engine.safety.language import listed_languages
from promptops.runs.enums import SafetyMode
from promptops.safety.actions.filter_settings import HIGHEST, LOWEST, SafetyChange, Term, clean_languages
from promptops.safety.enums import SafetyTermKind, WhenUnavailable
from promptops.safety.models import SafetySettings

MODES = {
    SafetyMode.OFF: "No text is judged.",
    SafetyMode.SHADOW: "Each input and output is judged and its verdict recorded. Nothing is blocked.",
    SafetyMode.ENFORCE: "Blocked texts are withheld. An answer appears only after all of it was judged.",
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
"""The effect of enforcing, by the choices for an unknown language and for a filter that is down."""


class ModeForm(forms.Form):
    """The mode, and the two choices for texts that can't be judged.

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
        help_text="Applies in enforce mode. The filter reads only English; it never calls another language harmful.",
        error_messages={"required": "Choose one.", "invalid_choice": "Choose one."},
    )
    languages = forms.MultipleChoiceField(
        label="Expected languages",
        choices=lambda: [(name, name) for name in listed_languages()],
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text="Texts in these languages follow the next choice, others the one above.",
        error_messages={"invalid_choice": "Unknown language: %(value)s."},
    )
    when_expected = forms.ChoiceField(
        label="If the language is expected",
        choices=WhenUnavailable.choices,
        widget=forms.Select(attrs={"class": "auto"}),
        required=False,
        error_messages={"invalid_choice": "Choose one."},
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
            "languages": config.expected_languages,
            "when_expected": config.when_expected,
            "when_down": config.when_down,
            "expected": config.changed_revision,
        }
        super().__init__(*args, **kwargs | {"initial": initial})
        self._when_expected = config.when_expected

    def clean_languages(self) -> list[str]:
        """Return the languages in the order of the page."""
        return clean_languages(self.cleaned_data["languages"])

    def clean_when_expected(self) -> str:
        """Keep the choice as it is if no language is expected, or the form does not have it."""
        chosen: str = self.cleaned_data["when_expected"]
        return chosen if chosen and self.cleaned_data.get("languages") else self._when_expected

    @property
    def wanted(self) -> SafetyChange:
        """The change of the filter to these valid values."""
        chosen = self.cleaned_data
        return SafetyChange(
            mode=chosen["mode"],
            when_language=chosen["when_language"],
            when_down=chosen["when_down"],
            expected_languages=tuple(chosen["languages"]),
            when_expected=chosen["when_expected"],
        )

    @property
    def button(self) -> str:
        """The label of the button: the effect of releasing these valid values."""
        choices = self.cleaned_data["when_language"], self.cleaned_data["when_down"]
        return BUTTONS.get(self.cleaned_data["mode"]) or "Enforce: " + ENFORCED[choices] + self._expected_in_words

    @property
    def _expected_in_words(self) -> str:
        """The effect on expected languages, if it is another than on unknown ones."""
        chosen = self.cleaned_data
        if not chosen["languages"] or chosen["when_expected"] == chosen["when_language"]:
            return ""
        return f", {'block' if chosen['when_expected'] == BLOCK else 'let pass'} {' and '.join(chosen['languages'])}"

    @property
    def modes(self) -> list[tuple[SafetyMode, str]]:
        """Each mode with its explanation."""
        return list(MODES.items())


DIGITS = 4
"""Digits of a threshold on pages. A threshold that is typed as it was shown is not a change."""


class ThresholdsForm(forms.Form):
    """A threshold for each category of the live model. Categories missing in `data` keep their threshold.

    `now` are the live thresholds, `own` those that the model was released with.
    """

    expected = forms.IntegerField(widget=forms.HiddenInput(), required=False)

    def __init__(self, config: SafetySettings, data: Any = None) -> None:
        self.own = {name: float(value) for name, value in config.model.manifest.get("thresholds", {}).items()}
        self.set = {name: float(value) for name, value in config.thresholds.items()}
        self.now = {**self.own, **self.set}
        shown = {name: f"{value:.{DIGITS}f}" for name, value in self.now.items()}
        initial = {"expected": config.changed_revision}
        typed = {name: value for name, value in (data or {}).items() if name in shown or name == "expected"}
        super().__init__({**initial, **shown, **typed}, initial=initial)
        for name in sorted(self.now):
            label = name.replace("_", "-")
            message = f"The threshold of {label} must be a number from {LOWEST} to {HIGHEST:.0f}."
            errors = dict.fromkeys(("required", "invalid", "min_value", "max_value"), message)
            self.fields[name] = forms.FloatField(
                label=label, min_value=LOWEST, max_value=HIGHEST, error_messages=errors
            )

    @property
    def categories(self) -> list[dict[str, Any]]:
        """Each category with its field and thresholds, for the page."""
        return [
            {"field": self[name], "now": self.now[name], "own": f"{self.own.get(name, HIGHEST):.{DIGITS}f}"}
            for name in sorted(self.now)
        ]

    @property
    def changed_from_now(self) -> list[str]:
        """The categories whose field differs from the live threshold."""
        return [name for name, value in self.now.items() if self.data[name] != f"{value:.{DIGITS}f}"]

    @property
    def stored(self) -> dict[str, float]:
        """The thresholds to set: those that differ from the model's own."""
        thresholds = {}
        for name, before in self.now.items():
            typed = self.cleaned_data[name]
            value = before if round(typed, DIGITS) == round(before, DIGITS) else typed
            if round(value, DIGITS) != round(self.own.get(name, -1), DIGITS):
                thresholds[name] = value
        return thresholds

    @property
    def proposed(self) -> dict[str, float]:
        """All thresholds as they would be after the release."""
        return {**self.own, **self.stored}


MAX_LINES = 200
"""Terms that one form may add."""


class TermsForm(forms.Form):
    """Terms to add, one a line, all of one kind and category."""

    kind = forms.ChoiceField(
        label="Action",
        choices=SafetyTermKind.choices[::-1],
        widget=forms.Select(),
        error_messages={"required": "Choose allow or deny.", "invalid_choice": "Choose allow or deny."},
    )
    category = forms.ChoiceField(
        label="Blocked as",
        choices=[(category.value, category.value.replace("_", "-")) for category in SafetyCategory],
        initial=SafetyCategory.OTHER.value,
        help_text="Only for denied terms.",
        error_messages={"required": "Choose a category.", "invalid_choice": "Choose a category."},
    )
    terms = forms.CharField(
        label="Terms, one a line",
        widget=forms.Textarea(attrs={"rows": 5, "spellcheck": "false", "dir": "auto"}),
        help_text="A word or phrase each, matched in any spelling. End with * to match any ending: gambl* matches "
        "gambling.",
        error_messages={"required": "Type a term first."},
    )

    def clean_terms(self) -> str:
        """Refuse more than MAX_LINES terms."""
        typed: str = self.cleaned_data["terms"]
        count = len([line for line in typed.splitlines() if line.strip()])
        if count > MAX_LINES:
            raise forms.ValidationError(f"These are {count:,} terms. Add at most {MAX_LINES} at once.")
        return typed

    @property
    def new(self) -> list[Term]:
        """The terms as they were typed, without blank lines."""
        kind, lines = self.cleaned_data["kind"], self.cleaned_data["terms"].splitlines()
        category = self.cleaned_data["category"] if kind == SafetyTermKind.DENY else ""
        return [Term(kind, line, category) for line in lines if line.strip()]


class SecondStageForm(forms.ModelForm):
    """The settings of the second stage. `expected` is the revision of the last change that the person saw."""

    expected = forms.IntegerField(widget=forms.HiddenInput())

    class Meta:
        model = SafetySettings
        fields = ("second_mode", "second_scope", "second_threshold")
        labels = {
            "second_mode": "Its verdicts",
            "second_scope": "Texts that it judges",
            "second_threshold": "Threshold",
        }
        widgets = {
            "second_mode": forms.Select(attrs={"class": "auto"}),
            "second_scope": forms.Select(attrs={"class": "auto"}),
            "second_threshold": forms.NumberInput(
                attrs={"class": "auto", "min": LOWEST, "max": HIGHEST, "step": "any"}
            ),
        }
        help_texts = {
            "second_mode": "The second stage judges nothing while the filter's mode is off.",
            "second_scope": "",
            "second_threshold": "From 0.01 to 1; a higher one blocks less. Empty: its own.",
        }

    @classmethod
    def proposal(cls, config: SafetySettings, given: Mapping[str, str]) -> "SecondStageForm":
        """Return the form with the values in `given`, such as those of an address; the others are the present ones."""
        now = {name: getattr(config, name) for name in cls.Meta.fields}
        chosen = {name: given[name] for name in cls.Meta.fields if name in given}
        return cls({"expected": config.changed_revision, **now, **chosen}, instance=copy(config))

    @property
    def changed_from_now(self) -> dict[str, str]:
        """The values that differ from the present ones, as the address has them. Of a valid proposal."""
        return {name: str(self.data[name]) for name in self.changed_data if name in self.Meta.fields}

    def clean_second_threshold(self) -> float | None:
        """Refuse a threshold out of range."""
        value: float | None = self.cleaned_data["second_threshold"]
        if value is not None and not LOWEST <= value <= HIGHEST:
            raise forms.ValidationError(f"The threshold must be a number from {LOWEST} to {HIGHEST:.0f}, or empty.")
        return value
