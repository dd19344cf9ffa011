"""Fields of providers and of their keys, and the shape that a kind gives them. Whole forms are in `forms.whole`."""

from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from promptops.engine.providers.adaptations import ADAPTATIONS
from promptops.engine.providers.addresses import base_address
from promptops.engine.providers.kinds import KINDS, KindSpec
from promptops.providers.actions.chain import NOT_EMBEDDED, ProviderFields
from promptops.providers.enums import JsonModeChoice, provider_kind_choices
from promptops.providers.key_variables import permitted
from promptops.providers.queries import set_or_not
from promptops.web.fields import SecondsField

ENVIRONMENT, STORED, NO_KEY = "environment", "stored", "none"
PRICES = ("price_input", "price_cached", "price_output")
CHOICES = ("fall_back_on_auth", "fall_back_on_not_found", "fall_back_on_refused")
LIMITS = ("first_text_s", "stall_s", "max_concurrent", "context_tokens", "json_mode")
# The section of these fields stays closed until one of them is used.
EXTRAS = (*LIMITS, *PRICES, *CHOICES, "adaptations")
TIMES = {"timeout_s": "timeout_ms", "first_text_s": "first_text_ms", "stall_s": "stall_ms"}
"""The fields in which people enter seconds, and the columns in milliseconds behind them."""
WHERE = ("kind", "base_url", "key_source", "key_env", "key")
"""The fields that a provider is reached with."""

LOCAL_SERVERS = (
    ("http://127.0.0.1:1234/v1", "LM Studio"),
    ("http://127.0.0.1:11434/v1", "Ollama"),
    ("http://127.0.0.1:8080/v1", "llama.cpp"),
    ("http://127.0.0.1:8000/v1", "vLLM"),
)
"""The usual addresses of servers on the same machine, none of which needs a key."""

PLAIN = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}


class ShapedForm(forms.Form):
    """A form whose fields depend on the values of some of them."""

    def held(self, name: str) -> str:
        """Return the field's value, sent or initial. (`self[name].value()` would fix the field's look here.)"""
        if not self.is_bound:
            return str(self.get_initial_for_field(self.fields[name], name) or "")
        sent = self.data.get(name, "")
        return str(bool(sent) or "") if isinstance(self.fields[name], forms.BooleanField) else str(sent)

    def show(self, error: ValidationError) -> None:
        """Show an action's refusal beside the fields that it names."""
        if not hasattr(error, "error_dict"):
            self.add_error(None, error)
            return
        fields = {column: name for name, column in TIMES.items()}
        for column, errors in error.error_dict.items():
            field = fields.get(column, column)
            self.add_error(field if field in self.fields else None, errors)


class KeyFields(ShapedForm):
    """The source of a key, and the field of that source. A key is never sent back to the page."""

    key_source = forms.ChoiceField(label="Key source", choices=[], widget=forms.RadioSelect)
    key_env = forms.CharField(
        label="Environment variable",
        max_length=100,
        required=False,
        widget=forms.TextInput(attrs=PLAIN),
    )
    key = forms.CharField(
        label="Key",
        max_length=1000,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password", "hx-preserve": "true"}),
        help_text="Stored encrypted; never shown again.",
    )

    def shape_key(self, kind: KindSpec, address: str) -> None:
        """Keep the sources that fit the kind, and the input that fits the source. The key is sent to `address`."""
        if kind.embedded:
            for name in ("key_source", "key_env", "key"):
                del self.fields[name]
            return
        sources = [(ENVIRONMENT, "Environment variable"), (STORED, "Stored key")]
        if kind.key == "optional":
            sources.insert(0, (NO_KEY, "No key"))
        cast("forms.ChoiceField", self.fields["key_source"]).choices = sources
        source = self.held("key_source")
        if source not in dict(sources):
            source = self.initial["key_source"] = sources[0][0]
        if source == STORED:
            self.fields["key"].required = True
        else:
            del self.fields["key"]
        if source == ENVIRONMENT:
            self._shape_variable(kind.key_env, address or kind.base_url)
        else:
            del self.fields["key_env"]

    def _shape_variable(self, default: str, address: str) -> None:
        field = self.fields["key_env"]
        field.required = True
        field.widget.attrs["placeholder"] = default or "VLLM_API_KEY"
        if not self.is_bound and not self.held("key_env"):
            self.initial["key_env"] = default
        name = self.held("key_env")
        # For any other variable the page does not even show whether it is set.
        may_be_sent = name and permitted().problem(name, address) is None
        now = f"{name} is {set_or_not(name)}. " if may_be_sent else ""
        field.help_text = f"{now}PromptOps stores only the variable's name."

    @property
    def chosen_key(self) -> dict[str, Any]:
        """Return `key` and `key_env` as the actions take them."""
        return {"key": self.cleaned_data.get("key", ""), "key_env": self.cleaned_data.get("key_env", "")}


def _seconds(label: str, help_text: str, **look: str) -> SecondsField:
    """Return the field of a time limit in seconds."""
    attributes = {"step": "any", "inputmode": "decimal", "placeholder": "no limit"} | look
    widget = forms.NumberInput(attrs=attributes)
    return SecondsField(label=label, required=False, min_ms=100, max_ms=600_000, widget=widget, help_text=help_text)


def _price(label: str) -> forms.FloatField:
    """Return the field of a price in USD per million tokens."""
    widget = forms.NumberInput(attrs={"step": "any", "inputmode": "decimal", "placeholder": "none"})
    return forms.FloatField(label=label, required=False, min_value=0, max_value=100_000, widget=widget)


class MainFields(ShapedForm):
    """A provider's fields without its key. The kind decides which fields exist."""

    kind = forms.ChoiceField(label="Kind", choices=provider_kind_choices)
    name = forms.CharField(
        label="Name",
        max_length=60,
        widget=forms.TextInput(attrs=PLAIN),
        help_text="Lower-case letters, digits, -, _ and . only. Runs and the audit use it.",
    )
    model = forms.CharField(
        label="Model id",
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs=PLAIN),
        help_text="The provider's own model id. Leave empty to use the prompt's.",
    )
    base_url = forms.CharField(
        label="Base URL",
        max_length=300,
        required=False,
        widget=forms.TextInput(attrs=PLAIN | {"inputmode": "url"}),
    )
    timeout_s = _seconds(
        "Time limit of one call, in seconds",
        "0.1 to 600. Leave empty to give a call its share of the run's time limit.",
        placeholder="none",
        **{"class": "w-short"},
    )
    first_text_s = _seconds(
        "First text within, in seconds",
        "0.1 to 600. If no text or reasoning arrives in time, the next provider is called.",
    )
    stall_s = _seconds(
        "Longest pause, in seconds",
        "0.1 to 600. If an answer pauses longer after its first text, the next provider is called.",
    )
    max_concurrent = forms.IntegerField(
        label="Calls at once",
        required=False,
        min_value=1,
        max_value=10_000,
        widget=forms.NumberInput(attrs={"placeholder": "no limit"}),
        help_text="At this many calls, the next provider is used.",
    )
    context_tokens = forms.IntegerField(
        label="Context, in tokens",
        required=False,
        min_value=1,
        max_value=100_000_000,
        widget=forms.NumberInput(attrs={"placeholder": "unknown"}),
        help_text="A prompt too long for another provider goes to one with a larger context.",
    )
    json_mode = forms.ChoiceField(
        label="For a JSON answer, ask for",
        required=False,
        choices=JsonModeChoice.choices,
        help_text="PromptOps verifies each answer itself, whatever you choose.",
    )
    price_input = _price("Input")
    price_cached = _price("Cached input")
    price_output = _price("Output")
    fall_back_on_auth = forms.BooleanField(
        label="Fall back to the next provider when its key is refused", required=False, initial=True
    )
    fall_back_on_not_found = forms.BooleanField(
        label="Fall back to the next provider when its model is not found", required=False
    )
    fall_back_on_refused = forms.BooleanField(
        label="Fall back to the next provider when the model declines to answer", required=False, initial=True
    )
    adaptations = forms.MultipleChoiceField(
        label="Adapt requests",
        required=False,
        choices=[(name, adaptation.label) for name, adaptation in ADAPTATIONS.items()],
        widget=forms.CheckboxSelectMultiple,
    )

    def shape(self) -> KindSpec:
        """Keep the fields that the kind uses, and return the kind (the first one if the value is unknown)."""
        kind = self.kind_spec = KINDS.get(self.held("kind")) or next(iter(KINDS.values()))
        usual = f"The usual for this kind: {JsonModeChoice(kind.json_mode).label}"
        cast("forms.ChoiceField", self.fields["json_mode"]).choices = [("", usual), *JsonModeChoice.choices]
        if kind.embedded:
            for name in ("base_url", "model", "fall_back_on_auth", *NOT_EMBEDDED):
                del self.fields[name]
            return kind
        self.fields["model"].widget.attrs["placeholder"] = kind.example_model
        base_url = self.fields["base_url"]
        base_url.required = kind.needs_address
        base_url.widget.attrs["placeholder"] = kind.base_url or "http://127.0.0.1:8080/v1"
        base_url.help_text = (
            "Leave empty to use the vendor's own address."
            if kind.base_url
            else "The address up to, but without, /chat/completions. LM Studio, Ollama, llama.cpp and vLLM need no key."
        )
        if kind.needs_address:
            base_url.widget.attrs["list"] = "local-servers"
        return kind

    @property
    def main_fields(self) -> list[forms.BoundField]:
        """Return the fields outside the closed section."""
        return [field for field in self if field.name not in {*EXTRAS, "start"}]

    @property
    def limits(self) -> list[forms.BoundField]:
        """Return the kind's limits on a call's duration, number and size, and its form of JSON answers."""
        return self._present(*LIMITS)

    @property
    def prices(self) -> list[forms.BoundField]:
        """Return the fields of prices; none if the kind costs nothing."""
        return self._present(*PRICES)

    @property
    def choices(self) -> list[forms.BoundField]:
        """Return the choices of errors on which a run falls back although another provider may fail in the same way."""
        return self._present(*CHOICES)

    @property
    def dropped_endpoint(self) -> str:
        """Return the page's message if a valid form had the whole endpoint as its address, "" otherwise."""
        if self.cleaned_data.get("base_url", "") == self.data.get("base_url", "").strip():
            return ""
        return f"The base URL is saved as {self.cleaned_data['base_url']}. PromptOps adds /chat/completions itself."

    def clean_base_url(self) -> str:
        return base_address(self.cleaned_data["base_url"])

    @property
    def extras_open(self) -> bool:
        """Return whether a field of the closed section has an error, or another value than in a new provider."""
        fields = self._present(*EXTRAS)
        return any(self.held(field.name) != str(field.field.initial or "") or field.errors for field in fields)

    def _present(self, *names: str) -> list[forms.BoundField]:
        return [self[name] for name in names if name in self.fields]

    @property
    def provider_fields(self) -> ProviderFields:
        """Return the values of a valid form."""
        data = self.cleaned_data
        times: dict[str, Any] = {column: data[name] for name, column in TIMES.items()}
        return ProviderFields(
            name=data["name"],
            kind=data["kind"],
            model=data.get("model", ""),
            base_url=data.get("base_url", ""),
            **times,
            **{name: data[name] for name in EXTRAS if name in data and name not in {*TIMES, "adaptations"}},
            adaptations=tuple(data.get("adaptations", ())),
        )


def reshaped(posted: QueryDict) -> dict[str, Any]:
    """Return the typed values as initial values of the form in its new shape, without the key."""
    typed: dict[str, Any] = {name: value for name, value in posted.items() if name != "key"}
    # A cleared box is not sent. A box that the page did not have keeps its initial value.
    typed |= {name: name in posted for name in posted.getlist("shown") or CHOICES}
    typed["adaptations"] = posted.getlist("adaptations")
    if typed.get("key_env") in {kind.key_env for kind in KINDS.values() if kind.key_env}:
        del typed["key_env"]  # a vendor's default, not typed by a person
        if typed.get("key_source") == ENVIRONMENT:
            del typed["key_source"]  # the other kind may need no key
    return typed
