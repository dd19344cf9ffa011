"""The form that starts a comparison: its name, arms, inputs and repeats. The limits are in `actions.comparisons`."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from promptops.compare.actions.comparisons import MAX_ARMS, MAX_REPEATS, MIN_ARMS, ArmChoice
from promptops.compare.models import Arm, Comparison, PromptSet
from promptops.compare.models.comparisons import LETTERS
from promptops.compare.queries import comparisons as queries
from promptops.engine.operations import OperationSpec
from promptops.people.models import User
from promptops.prompts.content import PARAMETERS, Content, is_unset, parameters_of
from promptops.prompts.forms import setting_field, show_when_empty
from promptops.prompts.models import Draft, Template
from promptops.providers.models import Provider
from promptops.runs.plans import MAX_COUNT
from promptops.texts.numbers import whole_number


class ArmForm(forms.Form):
    """One arm: a version or the person's own draft, one provider, and settings that override the text's."""

    text = forms.ChoiceField(label="Text", required=False)
    provider = forms.ModelChoiceField(Provider.objects.none(), label="Provider", empty_label=None)

    def __init__(self, *args: Any, texts: list[Any], user: User, required: bool, gone: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in PARAMETERS:
            self.fields[name] = setting_field(name)
            show_when_empty(self.fields[name], "text's own")
        self.fields["text"].required = required
        self.user = user
        self.fields["text"].choices = texts  # type: ignore[attr-defined]
        if self.prefix != LETTERS[0].lower():
            self._borrow_options(texts)
        self.fields["provider"].queryset = Provider.objects.all()  # type: ignore[attr-defined]
        if gone:  # do not select another provider silently
            self.fields["provider"].empty_label = "its provider was removed: choose one"  # type: ignore[attr-defined]

    def _borrow_options(self, texts: list[Any]) -> None:
        """Put only the chosen text into the page. The script adds the options of arm A, which are the same."""
        chosen = self["text"].value() or ""
        widget: Any = self.fields["text"].widget
        widget.choices = [(value, label) for value, label in _flat(texts) if value in ("", chosen)]
        widget.attrs["data-options-from"] = f"#id_{LETTERS[0].lower()}-text"

    def choice(self) -> ArmChoice | None:
        """Return the arm, or None if no text is chosen. Raises ValidationError if the chosen draft no longer exists."""
        chosen = self.cleaned_data.get("text")
        if not chosen:
            return None
        template_id, _, which = chosen.partition(":")
        if template_id == "arm":
            arm = Arm.objects.select_related("template", "version").get(pk=whole_number(which) or 0)
            template, version = arm.template, arm.version
            return ArmChoice(template, version, self._own(arm.content), self.cleaned_data["provider"])
        template = Template.objects.get(pk=whole_number(template_id) or 0)
        version = None
        if which == "draft":
            draft = Draft.objects.filter(template=template, user=self.user).first()
            if draft is None:
                raise ValidationError(f"Your draft of {template.name} no longer exists. Choose a version.")
            content = Content(**draft.content)
        else:
            version = template.versions.get(number=whole_number(which) or 0)
            content = Content(**version.content)
        return ArmChoice(template, version, self._own(content), self.cleaned_data["provider"])

    def _own(self, content: Content) -> Content:
        """Return the content with the settings that were typed for this arm."""
        typed: dict[str, Any] = {name: self.cleaned_data.get(name) for name in PARAMETERS}
        return replace(content, **{name: value for name, value in typed.items() if not is_unset(value)})

    @property
    def settings(self) -> list[forms.BoundField]:
        """Return the fields of the settings that may override the text's."""
        return [self[name] for name in PARAMETERS]


class ComparisonForm(forms.Form):
    """Name, inputs and repeats, with a form for each of the four arms."""

    name = forms.CharField(max_length=100)
    note = forms.CharField(
        label="Why", required=False, max_length=300, help_text="The question that you want to answer."
    )
    prompt_set = forms.ModelChoiceField(PromptSet.objects.none(), label="Prompt set", empty_label=None)
    limit = forms.IntegerField(
        label="Number of inputs", min_value=1, required=False, help_text="The first inputs of the set; empty: all."
    )
    repeats = forms.IntegerField(
        initial=1, min_value=1, max_value=MAX_REPEATS, help_text="Answers of each arm to each input."
    )
    count = forms.IntegerField(label="Alternatives", min_value=1, max_value=MAX_COUNT, required=False)

    def __init__(
        self,
        data: Any = None,
        *,
        operation: OperationSpec,
        user: User,
        repeated: Comparison | None = None,
        initial: dict[str, Any] | None = None,
    ) -> None:
        """Fill the form. `repeated` is a comparison to repeat with its arms, inputs and settings as they were."""
        super().__init__(data, initial=initial)
        self.operation = operation
        self.repeated = repeated
        self.fields["prompt_set"].queryset = queries.prompt_sets()  # type: ignore[attr-defined]
        self.fields["prompt_set"].label_from_instance = _set_label  # type: ignore[attr-defined]
        self.fields["count"].initial = operation.count
        if not operation.offers_alternatives:
            del self.fields["count"]
        texts = queries.text_choices(operation.name, user)
        pinned = list(repeated.arms.select_related("template", "version", "provider")) if repeated else []
        if repeated:
            self._repeat(repeated)
            pinned_texts = [(f"arm:{arm.pk}", f"{arm.letter}: {arm.text_label}") for arm in pinned]
            texts.insert(1, (f"As in {repeated.name}", pinned_texts))
        first = [value for value, _ in _flat(texts) if value]
        provider = Provider.objects.filter(enabled=True).first()
        self.arms = [
            ArmForm(
                data,
                prefix=letter.lower(),
                texts=texts,
                user=user,
                required=place < MIN_ARMS,
                initial=_initial(pinned[place])
                if place < len(pinned)
                else {
                    "text": first[place] if not repeated and place < min(MIN_ARMS, len(first)) else "",
                    "provider": provider,
                },
                gone=place < len(pinned) and pinned[place].provider is None,
            )
            for place, letter in enumerate(LETTERS[:MAX_ARMS])
        ]

    def _repeat(self, repeated: Comparison) -> None:
        count = repeated.inputs.count()
        field = self.fields["prompt_set"]
        field.required = False
        field.empty_label = f"{repeated.inputs_from} (copy of the {count} inputs)"  # type: ignore[attr-defined]
        self.initial.update(name=f"{repeated.name[:92]}, again", note=repeated.note, repeats=repeated.repeats)
        if repeated.count:
            self.initial["count"] = repeated.count

    @property
    def inputs(self) -> list[str]:
        """Return the inputs of the chosen set, or of the comparison that is repeated, up to the limit."""
        limit = self.cleaned_data.get("limit")
        if self.cleaned_data["prompt_set"] is not None:
            return list(self.cleaned_data["prompt_set"].inputs[:limit])
        return list(self.repeated.inputs.values_list("text", flat=True)[:limit]) if self.repeated else []

    @property
    def inputs_from(self) -> str:
        """Return the name of the set that the inputs come from."""
        chosen = self.cleaned_data["prompt_set"]
        return chosen.name if chosen is not None else self.repeated.inputs_from if self.repeated else ""

    def is_valid(self) -> bool:
        return all([super().is_valid(), *(arm.is_valid() for arm in self.arms)])

    def choices(self) -> list[ArmChoice]:
        """Return the arms that were filled in. Raises ValidationError."""
        return [choice for arm in self.arms if (choice := arm.choice()) is not None]


def _initial(arm: Arm) -> dict[str, Any]:
    return {
        "text": f"arm:{arm.pk}",
        "provider": arm.provider_id,
        **parameters_of(arm),
    }


def _set_label(prompt_set: PromptSet) -> str:
    return f"{prompt_set.name} ({prompt_set.input_count})"


def _flat(choices: list[Any]) -> Iterator[tuple[str, str]]:
    for value, label in choices:
        if isinstance(label, list):
            yield from label
        else:
            yield value, label
