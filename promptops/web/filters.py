"""The base form and the fields of list filters. Filters are in the address, so that a list can be shared.

The filter form of a list belongs to the list's feature.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import QuerySet
from django.http import QueryDict
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.choices import flatten_choices
from django.utils.functional import cached_property
from django.utils.safestring import SafeString

from promptops.ledger import registry
from promptops.ledger.audit import SYSTEM_NAMES
from promptops.ledger.registry import Action
from promptops.people.models import Token, User
from promptops.people.tokens import actor_name

Choices = list[tuple[str, Any]]

FEW_NAMES = 50
"""A list of more names would make each page of a long list heavier than its rows."""

# Marks an actor that is not a person; no user name can contain a colon.
SYSTEM = "system:"
MOST_TOKEN_NAMES = 500
"""Tokens in the list of actors. A token that was rotated has one name."""


class DayField(forms.DateField):
    """A day in the reader's time zone, as the browser's date picker gives it."""

    def __init__(self, label: str) -> None:
        super().__init__(
            label=label,
            required=False,
            input_formats=["%Y-%m-%d"],
            widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
            # Days near the ends of the calendar have no midnight in some time zones.
            validators=[
                MinValueValidator(date(1970, 1, 2), "Choose a day after 1 January 1970."),
                MaxValueValidator(date(2199, 12, 31), "Choose a day before the year 2200."),
            ],
            error_messages={"invalid": "Enter the date as 2026-11-30."},
        )


class SearchForm(forms.Form):
    """The words to look for in the prompts."""

    use_required_attribute = False
    q = forms.CharField(
        label="Search names, notes and texts",
        required=False,
        max_length=200,
        error_messages={"max_length": "Search for at most 200 characters."},
        widget=forms.TextInput(
            attrs={"type": "search", "placeholder": "Search names, notes and texts", "autocomplete": "off"}
        ),
    )


class NameSelect(forms.Select):
    """A list of names; if there are more than FEW_NAMES, a field that suggests names, which it fetches on focus."""

    def __init__(self, suggestions: str) -> None:
        """`suggestions` is the name of the address that returns all names as options."""
        super().__init__()
        self.suggestions = suggestions

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        choices: Any = self.choices  # of a ModelChoiceField
        if choices.queryset.count() <= FEW_NAMES:
            return super().render(name, value, attrs, renderer)
        return render_to_string(
            "_name_field.html",
            {"name": name, "value": value or "", "id": (attrs or {}).get("id", ""), "address": self.suggestions},
        )


class NameField(forms.ModelChoiceField):
    """A row that is chosen by its unique name."""

    def __init__(self, queryset: QuerySet[Any], *, suggestions: str, **kwargs: Any) -> None:
        super().__init__(
            queryset,
            required=False,
            empty_label="All",
            to_field_name="name",
            widget=NameSelect(suggestions),
            **kwargs,
        )


class MomentField(forms.Field):
    """A moment, typed in the reader's time zone. Addresses name it in UTC, so that it means the same to everybody."""

    def __init__(self, label: str) -> None:
        # In steps of a second, as exact as pages show times.
        super().__init__(
            label=label, required=False, widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"})
        )

    def to_python(self, value: Any) -> datetime | None:
        """Return the moment in UTC. Without a zone it is in the reader's; of a repeated hour, the first counts."""
        if not value:
            return None
        try:
            moment = datetime.fromisoformat(str(value).strip())
            if not 1970 < moment.year < 2200:
                raise ValidationError("Choose a time between the years 1971 and 2199.")
            return moment.replace(tzinfo=moment.tzinfo or timezone.get_current_timezone()).astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValidationError("Enter the time as 2026-11-30T14:32, or as 2026-11-30T14:32Z for UTC.") from None

    def prepare_value(self, value: Any) -> Any:
        """Return the moment as the browser's picker takes it, in the reader's zone. Invalid text stays as it is."""
        try:
            moment = self.to_python(value)
        except ValidationError:
            return value
        return f"{timezone.localtime(moment):%Y-%m-%dT%H:%M:%S}" if moment else ""


@dataclass(frozen=True)
class ChosenFilter:
    """A filter that is set, in words. `without` is the query of the same list without it; it begins with "?"."""

    label: str
    words: str
    without: str


class FilterForm(forms.Form):
    """The base of filter forms. An invalid value shows an error and filters nothing."""

    use_required_attribute = False
    more: frozenset[str] = frozenset()
    """The names of the fields that are folded away until a person opens them, or until one of them is set."""
    start = DayField("From")
    end = DayField("To")

    def __init__(self, query: QueryDict) -> None:
        super().__init__(query, auto_id="filter-%s", label_suffix="")
        for field in self.fields.values():
            field.error_messages["invalid_choice"] = "This choice does not exist, or no longer does."

    @cached_property
    def chosen(self) -> dict[str, Any]:
        """The filters that are set and valid."""
        self.full_clean()
        return {name: value for name, value in self.cleaned_data.items() if value}

    @property
    def active(self) -> bool:
        """True if any filter is set."""
        return any(self.data.get(name) for name in self.fields)

    @property
    def query(self) -> str:
        """The set filters as the query of an address, without a page."""
        return self._query().urlencode()

    @property
    def set_filters(self) -> list[ChosenFilter]:
        """Each filter that is set, also an invalid one."""
        found = []
        for name in self.fields:
            if self.data.get(name):
                query = self._query()
                del query[name]
                found.append(ChosenFilter(str(self[name].label), self._words(name), f"?{query.urlencode()}"))
        return found

    @property
    def main_fields(self) -> list[forms.BoundField]:
        """The fields that are always shown."""
        return [field for field in self.visible_fields() if field.name not in self.more]

    @property
    def more_fields(self) -> list[forms.BoundField]:
        """The fields that are folded away."""
        return [field for field in self.visible_fields() if field.name in self.more]

    @property
    def more_is_open(self) -> bool:
        """True if a field that would be folded away is set."""
        return any(self.data.get(name) for name in self.more)

    def _query(self) -> QueryDict:
        query = QueryDict(mutable=True)
        for name in self.fields:
            if value := self.data.get(name):
                query[name] = value
        return query

    def _words(self, name: str) -> str:
        """Return the value of a filter as the form shows it; an invalid value as it is in the address."""
        value, field = self.chosen.get(name), self.fields[name]
        if isinstance(value, datetime):
            return f"{timezone.localtime(value):%Y-%m-%d %H:%M:%S}"
        if value and isinstance(field, forms.ModelChoiceField):
            return field.label_from_instance(value)
        if value and isinstance(field, forms.ChoiceField):
            choices: Any = field.choices
            return str(dict(flatten_choices(choices)).get(str(self.data[name]), value))
        return str(self.data[name])

    def moments(self) -> dict[str, datetime | None]:
        """Return the first moment of the first day, and the first moment after the last day."""
        first, last = self.chosen.get("start"), self.chosen.get("end")
        return {
            "start": _midnight(first) if first else None,
            "end": _midnight(last + timedelta(days=1)) if last else None,
        }

    def clean(self) -> None:
        first, last = self.cleaned_data.get("start"), self.cleaned_data.get("end")
        if first and last and last < first:
            self.add_error("end", "The last day is before the first. Swap them.")


def _actors() -> Choices:
    users = User.objects.order_by("name", "pk").values_list("username", "name")
    system = [(f"{SYSTEM}{name}", name) for name in SYSTEM_NAMES]
    pairs = Token.objects.order_by("name", "made_by_name").values_list("name", "made_by_name").distinct()
    tokens = [(f"{SYSTEM}{name}", name) for name in (actor_name(*pair) for pair in pairs[:MOST_TOKEN_NAMES])]
    groups: Choices = [("", "All"), ("People", list(users)), ("Not a person", system)]
    return [*groups, ("Tokens", tokens)] if tokens else groups


class ActorField(forms.ChoiceField):
    """A person, by user name, a token, or a part of the system. Cleans to a User, a name, or None."""

    def __init__(self) -> None:
        super().__init__(label="Who", required=False, choices=_actors)

    def clean(self, value: Any) -> User | str | None:
        value = super().clean(value)
        if value.startswith(SYSTEM):
            return value.removeprefix(SYSTEM)
        return User.objects.get(username=value) if value else None


def action_choices() -> Choices:
    """Return the audited actions grouped by noun; where a noun has several, the noun itself stands for all of them."""
    groups: dict[str, list[Action]] = {}
    for action in registry.actions():
        groups.setdefault(action.noun, []).append(action)
    choices: Choices = [("", "All")]
    for noun, actions in groups.items():
        label = registry.noun_label(noun)
        everything = [(noun, f"{label}: everything")] if len(actions) > 1 else []
        choices.append((label, [*everything, *((action.name, action.label) for action in actions)]))
    return choices


def kind_choices() -> Choices:
    """Return the kinds of objects that entries are about."""
    return [("", "All"), *((kind.name, kind.label) for kind in registry.kinds())]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), timezone.get_current_timezone()).astimezone(UTC)
