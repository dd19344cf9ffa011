"""Whole forms of the Providers pages. The rules for storing are in `providers.actions.chain`."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from promptops.providers.actions import chain as actions
from promptops.providers.actions.chain import ProviderFields
from promptops.providers.forms.fields import (
    ENVIRONMENT,
    EXTRAS,
    NO_KEY,
    STORED,
    TIMES,
    WHERE,
    KeyFields,
    MainFields,
)
from promptops.providers.key_variables import key_variable
from promptops.providers.models import Provider


class NewProviderForm(MainFields, KeyFields):
    """A new provider with its key."""

    start = forms.ChoiceField(
        label="Begins",
        choices=[("live", "Live, last in the chain"), ("off", "Off")],
        initial="live",
        required=False,
        widget=forms.RadioSelect,
    )

    field_order = [*WHERE, "model", "name", "timeout_s"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shape_key(self.shape(), self.held("base_url") if "base_url" in self.fields else "")
        if "model" in self.fields:
            self.fields["model"].widget.attrs["list"] = "model-ids"
        if "key" in self.fields:
            self.fields[
                "key"
            ].help_text = (
                "Stored encrypted when you add the provider; never shown again. If this page reloads, enter it again."
            )

    def clean(self) -> dict[str, Any]:
        if not self.errors:
            try:
                self.planned = actions.planned(self.provider_fields, **self.chosen_key)
            except ValidationError as error:
                self.show(error)
        return self.cleaned_data

    def connection(self) -> Provider:
        """Return the provider as far as it can be reached. Raises ValidationError for what is wrong about that.

        Other fields may be empty or wrong: they come later on the page.
        """
        if wrong := [
            f"{self.fields[name].label}: {message}" for name in WHERE for message in self.errors.get(name, [])
        ]:
            raise ValidationError(wrong)
        data = self.cleaned_data
        fields = ProviderFields(data.get("name") or "the provider", data["kind"], base_url=data.get("base_url", ""))
        return actions.planned(fields, is_named=False, **self.chosen_key)

    @property
    def starts_live(self) -> bool:
        return self.cleaned_data["start"] != "off"

    @property
    def where(self) -> list[forms.BoundField]:
        """Return the fields of the first step."""
        return self._present(*WHERE)

    @property
    def names(self) -> list[forms.BoundField]:
        """Return the fields of the last step that are not in the closed section."""
        return self._present("name", "timeout_s")


class EditProviderForm(MainFields):
    """A provider's fields. `expected` is the revision of the newest change that the person saw."""

    expected = forms.IntegerField(widget=forms.HiddenInput())

    def __init__(self, provider: Provider, *args: Any, **kwargs: Any) -> None:
        names = {"kind", "name", "model", "base_url", *EXTRAS} - TIMES.keys()
        initial = {name: getattr(provider, name) for name in names}
        times = {name: getattr(provider, column) for name, column in TIMES.items()}
        initial |= {name: milliseconds for name, milliseconds in times.items() if milliseconds}
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
        """Return whether a valid edit drops the key although the provider may need one (see `actions.edited`)."""
        had_key = self.provider.key_encrypted or self.provider.key_env
        has_key = self.after.key_encrypted or self.after.key_env
        return bool(had_key and not has_key and not self.after.kind_spec.embedded)


class KeyForm(KeyFields):
    """A new key for a provider. `expected` is the revision of the newest change that the person saw."""

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
    """Return the current source of the provider's key, as a choice of the form."""
    if provider.key_encrypted:
        return STORED
    return ENVIRONMENT if key_variable(provider) else NO_KEY
