"""Reviewed changes of the chain and of its providers: what the review panel shows, and what it applies.

The rules for storing a provider are in `providers.actions`; the fields that a person fills in are in `providers.forms`.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.http import HttpResponse
from django.urls import reverse

from promptops.engine.providers.adaptations import ADAPTATIONS
from promptops.ledger.audit import Actor
from promptops.providers import trials
from promptops.providers.actions import chain as actions
from promptops.providers.forms.whole import EditProviderForm, KeyForm, NewProviderForm
from promptops.providers.key_variables import address_of, is_sent_in_the_clear
from promptops.providers.models import Provider
from promptops.providers.queries import key_sentence
from promptops.texts.numbers import whole_number
from promptops.web import review
from promptops.web.fields import in_seconds
from promptops.web.request import Request
from promptops.web.review import Change, ReviewedChange

KEY_DROPPED = "This change removes the key, because it was entered for another server. Enter the key again afterwards."
UNENCRYPTED = "The key is sent to {host} unencrypted. Use an https:// address, or a network that you trust."
UNTESTED = "No test has passed with these values. Press Cancel, then Test, to see whether it answers."
ALL_OFF = "This turns off the last provider. Every run fails until a provider is turned on again."


class ProviderChange(ReviewedChange):
    """A change of a provider, or of the chain."""

    @property
    def page(self) -> str:
        return reverse("providers")

    def finish(self, request: Request) -> HttpResponse:
        return review.done(request, as_it_was(request, self.page), f"{self.result()} {self.undo()}".strip())


def as_it_was(request: Request, page: str) -> str:
    """Return the address of the page, with the rows open that are open there now if the person comes from it."""
    current = request.htmx.current_url_abs_path or ""
    return current if urlsplit(current).path == page else page


class SeenProviderChange(ProviderChange):
    """A change of a provider that was edited in a form. It is refused if somebody changed the provider meanwhile."""

    provider: Provider
    form: EditProviderForm | KeyForm
    template = "_review_warning.html"
    expected_id: str
    """The id of the field with the revision that the form was filled from."""

    @property
    def affected(self) -> str:
        return _affected(self.provider)

    @property
    def is_stale(self) -> bool:
        return bool(self.form.cleaned_data["expected"] != self.provider.changed_revision)

    def warning(self) -> str:
        return unencrypted(self.form.after)

    def details(self) -> dict[str, Any]:
        warning = {"warning": self.warning()}
        if not self.is_stale:
            return warning
        # The panel compares the saved values with the typed ones, and hands the page the saved revision.
        expected = {"expected_id": self.expected_id, "expected": self.provider.changed_revision}
        return warning | expected | {"template": "providers/_stale.html"}

    def refusal(self) -> str:
        if not self.is_stale:
            return ""
        return (
            f"Someone changed {self.provider.name} in the meantime. Your text is kept, and compared below with "
            "the saved values. Save to replace them, or reload the page to discard your changes."
        )


@dataclass
class ReorderChain(ProviderChange):
    """A new order of the chain. `seen` is the order that the page posted as `expected`."""

    order: list[int]
    expected: list[int]
    seen: str
    title = "Change the provider order"
    confirm = "Change the order"
    form_id = "order-form"
    template = "_review_form.html"

    def __post_init__(self) -> None:
        names = dict(Provider.objects.values_list("id", "name"))
        self.before, self.after = _arrows(names, self.expected), _arrows(names, self.order)

    def changes(self) -> list[Change]:
        return [Change("Order", self.before, self.after)]

    def details(self) -> dict[str, Any]:
        values = [*(("order", pk) for pk in self.order), ("expected", self.seen)]
        return {"action": reverse("provider_order"), "values": values}

    def apply(self, *, by: Actor, note: str) -> None:
        actions.reorder(self.order, by=by, expected=self.expected, note=note)

    def result(self) -> str:
        return f"The order is now {self.after}."

    def undo(self) -> str:
        return f"It was {self.before}. To undo, move the provider back."


@dataclass
class AddProvider(ProviderChange):
    """A new provider at the end of the chain. `proof` is what the page got when it was tested (`trials.seal`)."""

    form: NewProviderForm
    proof: str = ""
    form_id = "provider-form"
    template = "_review_warning.html"

    @property
    def title(self) -> str:
        return f"Add {self.form.provider_fields.name}"

    @property
    def confirm(self) -> str:
        return self.title if self.form.starts_live else f"{self.title}, off"

    @property
    def affected(self) -> str:
        if not self.form.starts_live:
            return "It begins off, so no run is affected."
        return f"It comes last in the chain: runs call it when all others have failed. {review.affected_by_release()}"

    def changes(self) -> list[Change]:
        fields = shown_fields(self.form.planned)
        return [Change(label, "–", after) for label, after in fields.items() if after != "–"]

    def details(self) -> dict[str, Any]:
        is_tested = trials.is_tested(self.form.planned, self.form.chosen_key["key"], self.proof)
        warning = "" if is_tested else UNTESTED
        return {"warning": f"{warning} {self.form.dropped_endpoint}".strip()}

    def apply(self, *, by: Actor, note: str) -> None:
        fields, enabled = self.form.provider_fields, self.form.starts_live
        actions.create_provider(fields, by=by, note=note, enabled=enabled, **self.form.chosen_key)

    def result(self) -> str:
        name = self.form.provider_fields.name
        if self.form.starts_live:
            return f"{name} was added at the end of the chain."
        return f"{name} was added and is off. Turn it on in its menu."

    def undo(self) -> str:
        undo = "To undo, turn it off." if self.form.starts_live else ""
        return f"{undo} {self.form.dropped_endpoint}".strip()


@dataclass
class EditProvider(SeenProviderChange):
    """A change of a provider's fields."""

    provider: Provider
    form: EditProviderForm
    form_id = "provider-form"
    expected_id = "id_expected"

    @property
    def title(self) -> str:
        return f"Change {self.provider.name}"

    @property
    def confirm(self) -> str:
        return f"Save {self.form.after.name}"

    @property
    def page(self) -> str:
        return reverse("provider", args=[self.provider.pk]) if self.form.drops_key else reverse("providers")

    def changes(self) -> list[Change]:
        before, after = shown_fields(self.provider), shown_fields(self.form.after)
        return [Change(label, before[label], after[label]) for label in after if after[label] != before[label]]

    def warning(self) -> str:
        key = KEY_DROPPED if self.form.drops_key else super().warning()
        return " ".join(filter(None, [key, self.form.dropped_endpoint]))

    def refusal(self) -> str:
        if stale := super().refusal():
            return stale
        return "" if self.changes() else f"No changes to save for {self.provider.name}."

    def apply(self, *, by: Actor, note: str) -> None:
        expected = self.form.cleaned_data["expected"]
        actions.edit_provider(self.provider, self.form.provider_fields, by=by, expected=expected, note=note)

    def result(self) -> str:
        return f"{self.form.after.name} was changed."

    def undo(self) -> str:
        if self.form.drops_key:
            return "Its key was removed. Enter the key again."
        return f"{_undo(self.changes())} {self.form.dropped_endpoint}"


@dataclass
class ChangeKey(SeenProviderChange):
    """A change of a provider's key, or of the key's source."""

    provider: Provider
    form: KeyForm
    confirm = "Change the key"
    form_id = "key-form"
    expected_id = "key_expected"

    @property
    def title(self) -> str:
        return f"Change the key of {self.provider.name}"

    def changes(self) -> list[Change]:
        typed = " (the one you typed)" if self.form.chosen_key["key"] else ""
        before, after = (key_sentence(provider) for provider in (self.provider, self.form.after))
        return [Change("Key", before, f"{after}{typed}")]

    def apply(self, *, by: Actor, note: str) -> None:
        expected = self.form.cleaned_data["expected"]
        actions.change_key(self.provider, by=by, expected=expected, note=note, **self.form.chosen_key)

    def result(self) -> str:
        return f"The key of {self.provider.name} was changed."

    def undo(self) -> str:
        return "Test the provider. To undo, enter the old key again."


@dataclass
class TurnProvider(ProviderChange):
    """Turning a provider on or off."""

    provider: Provider
    on: bool
    form_id = "enabled-form"
    template = "_review_form.html"

    @property
    def words(self) -> tuple[str, str]:
        return ("on", "off") if self.on else ("off", "on")

    @property
    def title(self) -> str:
        return f"Turn {self.provider.name} {self.words[0]}"

    @property
    def confirm(self) -> str:
        return self.title

    def changes(self) -> list[Change]:
        return [Change(self.provider.name, self.words[1], self.words[0])]

    def details(self) -> dict[str, Any]:
        others = Provider.objects.filter(enabled=True).exclude(pk=self.provider.pk)
        is_last = not self.on and not others.exists()
        return {
            "warning": ALL_OFF if is_last else "",
            "danger": is_last,
            "action": reverse("provider_enabled", args=[self.provider.pk]),
            "values": [("enabled", int(self.on))],
        }

    def apply(self, *, by: Actor, note: str) -> None:
        actions.set_enabled(self.provider, self.on, by=by, note=note)

    def result(self) -> str:
        return f"{self.provider.name} is {self.words[0]}."

    def undo(self) -> str:
        return f"To undo, turn it {self.words[1]} again."


@dataclass
class RemoveProvider(ProviderChange):
    """Removing a provider that is off, and its key."""

    provider: Provider
    expected: str
    form_id = "remove-form"
    template = "_review_form.html"

    @property
    def title(self) -> str:
        return f"Remove {self.provider.name}"

    @property
    def confirm(self) -> str:
        return self.title

    @property
    def affected(self) -> str:
        return "It is off, so no run is affected. Runs keep its name. Its stored key is deleted permanently."

    def changes(self) -> list[Change]:
        return [Change(label, before, "–") for label, before in shown_fields(self.provider).items() if before != "–"]

    def details(self) -> dict[str, Any]:
        action = reverse("provider_remove", args=[self.provider.pk])
        return {"danger": True, "action": action, "values": [("expected", self.expected)]}

    def apply(self, *, by: Actor, note: str) -> None:
        # 0 is no revision, so the change is refused as out of date.
        actions.remove_provider(self.provider, by=by, expected=whole_number(self.expected) or 0, note=note)

    def result(self) -> str:
        return f"{self.provider.name} was removed."

    def undo(self) -> str:
        return "To undo, add it again. The audit has its fields."


def shown_fields(provider: Provider) -> dict[str, str]:
    """Return a provider's fields as labels and values for pages. Of the key they show only its source."""
    return {
        "Name": provider.name,
        "Kind": provider.get_kind_display(),
        "Model id": provider.model or "–",
        "Base URL": address_of(provider) or "–",
        "Key": "–" if provider.kind_spec.embedded else key_sentence(provider),
        "Time limit": _seconds(provider.timeout_ms),
        "First text within": _seconds(provider.first_text_ms),
        "Longest pause": _seconds(provider.stall_ms),
        "Calls at once": f"{provider.max_concurrent:,}" if provider.max_concurrent else "–",
        "Context": f"{provider.context_tokens:,} tokens" if provider.context_tokens else "–",
        "For a JSON answer": provider.get_json_mode_display() or "–",
        "Price of input": _price(provider.price_input),
        "Price of cached input": _price(provider.price_cached),
        "Price of output": _price(provider.price_output),
        "When its key is refused": "fall back" if provider.fall_back_on_auth else "–",
        "When its model is not found": "fall back" if provider.fall_back_on_not_found else "–",
        "When the model declines": "fall back" if provider.fall_back_on_refused else "–",
        "Adapted requests": "; ".join(ADAPTATIONS[name].label for name in provider.adaptations) or "–",
    }


def _price(usd: float | None) -> str:
    return "–" if usd is None else f"${usd:,.15g} per million tokens"


def _seconds(milliseconds: int | None) -> str:
    return f"{in_seconds(milliseconds)} s" if milliseconds else "–"


def _affected(provider: Provider) -> str:
    return review.affected_by_release() if provider.enabled else "It is off, so no run is affected."


def unencrypted(provider: Provider) -> str:
    """Return the warning for a key that leaves this machine unencrypted, or ""."""
    host = urlsplit(address_of(provider)).hostname
    return UNENCRYPTED.format(host=host) if is_sent_in_the_clear(provider) else ""


def _undo(changes: list[Change]) -> str:
    """Return how a person undoes an edit."""
    if len(changes) > 1:
        return "To undo, edit it back. The audit has the earlier values."
    return f"{changes[0].label} was {changes[0].before}. To undo, edit it back."


def _arrows(names: dict[int, str], order: list[int]) -> str:
    return " → ".join(names.get(pk, "(removed)") for pk in order)
