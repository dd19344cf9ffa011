"""Forms of the Providers pages. What may be stored is decided by `promptops.providers.actions.providers`."""

from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from promptops.engine.providers.adaptations import ADAPTATIONS
from promptops.engine.providers.addresses import base_address
from promptops.engine.providers.kinds import KINDS, KindSpec
from promptops.providers.actions import providers as actions
from promptops.providers.actions.providers import NOT_EMBEDDED, ProviderFields
from promptops.providers.enums import provider_kind_choices
from promptops.providers.key_variables import key_variable, permitted
from promptops.providers.models import Provider
from promptops.providers.queries import set_or_not

ENVIRONMENT, STORED, NO_KEY = "environment", "stored", "none"
PRICES = ("price_input", "price_cached", "price_output")
CHOICES = ("fall_back_on_auth", "fall_back_on_not_found", "fall_back_on_refused")
LIMITS = ("first_text_ms", "stall_ms", "max_concurrent", "context_tokens")
# The fields of the section that stays closed until one of them is used.
EXTRAS = (*LIMITS, *PRICES, *CHOICES, "adaptations")
PLAIN = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}


class ShapedForm(forms.Form):
    """A form whose fields depend on what some of them hold."""

    def held(self, name: str) -> str:
        """What the field holds, sent or initial. (`self[name].value()` would freeze the field's look at this point.)"""
        if not self.is_bound:
            return str(self.get_initial_for_field(self.fields[name], name) or "")
        given = self.data.get(name, "")
        return str(bool(given) or "") if isinstance(self.fields[name], forms.BooleanField) else str(given)

    def show(self, error: ValidationError) -> None:
        """Put an action's refusal beside the fields that it names."""
        if not hasattr(error, "error_dict"):
            self.add_error(None, error)
            return
        for field, errors in error.error_dict.items():
            self.add_error(field if field in self.fields else None, errors)


class KeyFields(ShapedForm):
    """Where a key comes from. Only the field of the chosen source is there; a key is never sent back to the page."""

    key_source = forms.ChoiceField(label="Where the key comes from", choices=[], widget=forms.RadioSelect)
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
        help_text="Stored encrypted and shown to nobody, ever.",
    )

    def shape_key(self, kind: KindSpec, address: str) -> None:
        """Keep the sources that fit the kind and the one input that fits the source; the key goes to `address`."""
        if kind.embedded:
            for name in ("key_source", "key_env", "key"):
                del self.fields[name]
            return
        sources = [(ENVIRONMENT, "Environment variable"), (STORED, "Stored key")]
        if kind.key == "optional":
            sources.append((NO_KEY, "No key"))
        cast("forms.ChoiceField", self.fields["key_source"]).choices = sources
        source = self.held("key_source")
        if source not in dict(sources):
            source = self.initial["key_source"] = ENVIRONMENT
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
        # Of any other variable the page does not even say whether it is there.
        may_be_sent = name and permitted().problem(name, address) is None
        now = f"{name} is {set_or_not(name)}. " if may_be_sent else ""
        field.help_text = f"{now}Only the name of the variable is kept here."

    @property
    def chosen_key(self) -> dict[str, Any]:
        """`key` and `key_env` as the actions take them."""
        return {"key": self.cleaned_data.get("key", ""), "key_env": self.cleaned_data.get("key_env", "")}


def _milliseconds(label: str, help_text: str) -> forms.IntegerField:
    """A time that a part of one call may take."""
    widget = forms.NumberInput(attrs={"placeholder": "no limit"})
    return forms.IntegerField(
        label=label, required=False, min_value=100, max_value=600_000, widget=widget, help_text=help_text
    )


def _price(label: str) -> forms.FloatField:
    """A price in USD per million tokens."""
    widget = forms.NumberInput(attrs={"step": "any", "inputmode": "decimal", "placeholder": "none"})
    return forms.FloatField(label=label, required=False, min_value=0, max_value=100_000, widget=widget)


class MainFields(ShapedForm):
    """A provider but for its key; the kind decides which fields there are."""

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
        help_text="As this provider calls it. Empty: the model that the prompt names.",
    )
    base_url = forms.CharField(
        label="Base URL",
        max_length=300,
        required=False,
        widget=forms.TextInput(attrs=PLAIN | {"inputmode": "url"}),
    )
    timeout_ms = forms.IntegerField(
        label="Time limit of one call, in ms",
        required=False,
        min_value=100,
        max_value=600_000,
        widget=forms.NumberInput(attrs={"class": "w-short", "placeholder": "none"}),
        help_text="100 to 600,000. Without one, a call gets its share of the run's time limit.",
    )

    first_text_ms = _milliseconds(
        "First text within, in ms",
        "100 to 600,000. A call without text or reasoning by then ends, and the next provider is asked.",
    )
    stall_ms = _milliseconds(
        "Longest pause, in ms",
        "100 to 600,000. A call that pauses longer after its first text ends, and the next provider is asked.",
    )
    max_concurrent = forms.IntegerField(
        label="Calls at once",
        required=False,
        min_value=1,
        max_value=10_000,
        widget=forms.NumberInput(attrs={"placeholder": "no limit"}),
        help_text="When so many are under way, the next provider is asked.",
    )
    context_tokens = forms.IntegerField(
        label="Context, in tokens",
        required=False,
        min_value=1,
        max_value=100_000_000,
        widget=forms.NumberInput(attrs={"placeholder": "unknown"}),
        help_text="A prompt too long for another provider goes to one with a larger context.",
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
        label="Ask differently",
        required=False,
        choices=[(name, adaptation.label) for name, adaptation in ADAPTATIONS.items()],
        widget=forms.CheckboxSelectMultiple,
    )

    def shape(self) -> KindSpec:
        """Keep the fields that matter to the kind, and return the kind (the first one for nonsense)."""
        kind = self.kind_spec = KINDS.get(self.held("kind")) or next(iter(KINDS.values()))
        if kind.embedded:
            for name in ("base_url", "model", "fall_back_on_auth", *NOT_EMBEDDED):
                del self.fields[name]
            return kind
        self.fields["model"].widget.attrs["placeholder"] = kind.example_model
        base_url = self.fields["base_url"]
        base_url.required = kind.needs_address
        base_url.widget.attrs["placeholder"] = kind.base_url or "http://127.0.0.1:8080/v1"
        base_url.help_text = (
            "Empty: the vendor's own address."
            if kind.base_url
            else "PromptOps adds /chat/completions; if you paste it, it is dropped."
        )
        return kind

    @property
    def main_fields(self) -> list[forms.BoundField]:
        """The fields that everybody sees."""
        return [field for field in self if field.name not in EXTRAS]

    @property
    def limits(self) -> list[forms.BoundField]:
        """The limits on a call's number and size that the kind has."""
        return self._there(*LIMITS)

    @property
    def prices(self) -> list[forms.BoundField]:
        """The prices, unless the kind costs nothing."""
        return self._there(*PRICES)

    @property
    def choices(self) -> list[forms.BoundField]:
        """What may make a run fall back although another provider might do no better."""
        return self._there(*CHOICES)

    @property
    def dropped_endpoint(self) -> str:
        """Return what the page says when a valid form held the whole endpoint, "" otherwise."""
        if self.cleaned_data.get("base_url", "") == self.data.get("base_url", "").strip():
            return ""
        return f"The base URL is saved as {self.cleaned_data['base_url']}: PromptOps adds /chat/completions itself."

    def clean_base_url(self) -> str:
        return base_address(self.cleaned_data["base_url"])

    @property
    def extras_open(self) -> bool:
        """Whether the section of the rarer fields holds anything that a new provider does not, or an error."""
        rare = self._there(*EXTRAS)
        return any(self.held(field.name) != str(field.field.initial or "") or field.errors for field in rare)

    def _there(self, *names: str) -> list[forms.BoundField]:
        return [self[name] for name in names if name in self.fields]

    @property
    def provider_fields(self) -> ProviderFields:
        """What a valid form holds."""
        data = self.cleaned_data
        return ProviderFields(
            name=data["name"],
            kind=data["kind"],
            model=data.get("model", ""),
            base_url=data.get("base_url", ""),
            timeout_ms=data["timeout_ms"],
            **{name: data[name] for name in EXTRAS if name in data and name != "adaptations"},
            adaptations=tuple(data.get("adaptations", ())),
        )


def reshaped(posted: QueryDict) -> dict[str, Any]:
    """What was typed so far, as initial values for the form in its new shape. Not the key, which is never sent back."""
    typed: dict[str, Any] = {name: value for name, value in posted.items() if name != "key"}
    # A box that was cleared is not sent; one that the page did not have keeps its initial value.
    typed |= {name: name in posted for name in posted.getlist("shown") or CHOICES}
    typed["adaptations"] = posted.getlist("adaptations")
    if typed.get("key_env") in {kind.key_env for kind in KINDS.values() if kind.key_env}:
        del typed["key_env"]  # a vendor's default, which nobody typed
    return typed


class NewProviderForm(MainFields, KeyFields):
    """A new provider with its key."""

    field_order = ["kind", "name", "model", "base_url", "key_source", "key_env", "key", "timeout_ms"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shape_key(self.shape(), self.held("base_url") if "base_url" in self.fields else "")

    def clean(self) -> dict[str, Any]:
        if not self.errors:
            try:
                actions.planned(self.provider_fields, **self.chosen_key)
            except ValidationError as error:
                self.show(error)
        return self.cleaned_data


class EditProviderForm(MainFields):
    """A provider's fields. `expected` is the revision of the last change that the person saw."""

    expected = forms.IntegerField(widget=forms.HiddenInput())

    def __init__(self, provider: Provider, *args: Any, **kwargs: Any) -> None:
        names = ("kind", "name", "model", "base_url", "timeout_ms", *EXTRAS)
        initial = {name: getattr(provider, name) for name in names}
        initial["expected"] = provider.changed_revision
        kwargs["initial"] = initial | kwargs.get("initial", {})
        super().__init__(*args, **kwargs)
        self.provider = provider
        self.shape()

    def clean(self) -> dict[str, Any]:
        if not self.errors:
            try:
                self.after = actions.edited(self.provider, self.provider_fields)
            except ValidationError as error:
                self.show(error)
        return self.cleaned_data

    @property
    def drops_key(self) -> bool:
        """Say whether a valid edit loses the key although the provider needs one (see `actions.edited`)."""
        had_key = self.provider.key_encrypted or self.provider.key_env
        has_key = self.after.key_encrypted or self.after.key_env
        return bool(had_key and not has_key and not self.after.kind_spec.embedded)


class KeyForm(KeyFields):
    """Another key for a provider. `expected` is the revision of the last change that the person saw."""

    expected = forms.IntegerField(widget=forms.HiddenInput())

    def __init__(self, provider: Provider, *args: Any, **kwargs: Any) -> None:
        initial = {
            "key_source": source_of(provider),
            "key_env": provider.key_env,
            "expected": provider.changed_revision,
        }
        kwargs |= {"initial": initial | kwargs.get("initial", {}), "auto_id": "key_%s"}
        super().__init__(*args, **kwargs)
        self.provider = provider
        self.shape_key(provider.kind_spec, provider.base_url)

    def clean(self) -> dict[str, Any]:
        if not self.errors:
            try:
                self.after = actions.with_key(self.provider, **self.chosen_key)
            except ValidationError as error:
                self.show(error)
        return self.cleaned_data


def source_of(provider: Provider) -> str:
    """Where the provider's key comes from now, as the form's choice."""
    if provider.key_encrypted:
        return STORED
    return ENVIRONMENT if key_variable(provider) else NO_KEY
