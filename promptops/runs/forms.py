"""Forms of the Runs page and of the "Try it" panel. The content of a version has its form in `prompts.forms`."""

import re
from typing import cast

from django import forms
from django.http import QueryDict

from promptops.engine.drills import FAULTS
from promptops.people.models import User
from promptops.prompts.models import Template
from promptops.prompts.queries import operations
from promptops.runs.enums import ContractOutcome, RunSource, RunStatus
from promptops.runs.plans import MAX_COUNT
from promptops.runs.queries.runs import ALL_SOURCES, RunFilters, provider_names, token_names
from promptops.texts.numbers import whole_number
from promptops.web.filters import FilterForm, NameField

LIVE = "live"
PLACE = re.compile(r"try-\d{1,15}", re.ASCII)
"""The ids of groups of answers in a page."""


class TryForm(forms.Form):
    """The "Try it" panel: its text (`editor` or a version's number), provider (`chain` or an id), and input.

    `runs` is a number of runs, or LIVE for the text and the live version. `place` names the group of answers in the
    page, and `against` the runs whose answers it has, the one to compare with first.
    """

    template = forms.CharField(max_length=60)
    what = forms.RegexField(
        r"\A(editor|\d{1,9})\Z", error_messages={"invalid": "Choose the editor's text or a version."}
    )
    where = forms.RegexField(r"\A(chain|\d{1,18})\Z", error_messages={"invalid": "Choose the chain or one provider."})
    input = forms.CharField(required=False, strip=False)
    count = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MAX_COUNT,
        error_messages={
            "min_value": "Ask for at least 1 alternative.",
            "max_value": f"Ask for at most {MAX_COUNT} alternatives.",
        },
    )
    fault = forms.ChoiceField(
        required=False,
        choices=[("", ""), *((fault, fault) for fault in FAULTS)],
        error_messages={"invalid_choice": "Choose one of the faults for the drill."},
    )
    faulty = forms.RegexField(
        r"\A\d{1,18}\Z", required=False, error_messages={"invalid": "Choose the provider for the drill."}
    )
    runs = forms.ChoiceField(
        required=False,
        choices=[(each, each) for each in ("1", "3", LIVE)],
        error_messages={"invalid_choice": "Run the text once or three times, or compare it with the live version."},
    )
    place = forms.RegexField(
        rf"\A{PLACE.pattern}\Z",
        required=False,
        error_messages={"invalid": "This page is out of date. Reload it and try again."},
    )
    against = forms.CharField(required=False, max_length=400)

    def clean_against(self) -> list[int]:
        numbers = map(whole_number, self.cleaned_data["against"].split(","))
        return [number for number in numbers if number]


class RunFilterForm(FilterForm):
    """The filters of the list of runs."""

    field_order = [
        "operation",
        "template",
        "status",
        "source",
        "user",
        "token",
        "safety",
        "contract",
        "provider",
        "revision",
        "start",
        "end",
        "since",
        "until",
    ]
    more = frozenset({"safety", "contract", "provider", "token", "revision", "start", "end"})
    operation = forms.ChoiceField(required=False, choices=lambda: [("", "All"), *operations.all_choices()])
    status = forms.ChoiceField(required=False, choices=[("", "All"), *RunStatus.choices])
    safety = forms.ChoiceField(
        required=False,
        choices=[
            ("", "All"),
            ("blocked", "Blocked"),
            ("masked", "Blocked, or would be blocked"),
            ("not_judged", "Not judged"),
            ("harmful", "Found harmful"),
            ("too_long", "Not judged: too long"),
            ("language", "Not judged: unknown language"),
            ("down", "Not judged: filter down"),
        ],
    )
    contract = forms.ChoiceField(required=False, choices=[("", "All"), *ContractOutcome.choices])
    source = forms.ChoiceField(
        required=False,
        choices=[("", "No comparisons"), (ALL_SOURCES, "All"), *RunSource.choices],
    )
    template = NameField(Template.objects.order_by("name"), suggestions="template_names")
    user = forms.ModelChoiceField(
        User.objects.order_by("name", "pk"), label="Person", required=False, empty_label="All", to_field_name="username"
    )
    token = forms.ChoiceField(required=False)
    provider = forms.ChoiceField(label="Provider called", required=False)
    revision = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=10**9,
        widget=forms.NumberInput(attrs={"placeholder": "Number"}),
        error_messages={"invalid": "Enter only the number, such as 12."},
    )
    # The exact span of a link from the Safety page, which is shorter than a day.
    since = forms.DateTimeField(label="From", required=False, widget=forms.HiddenInput())
    until = forms.DateTimeField(label="To", required=False, widget=forms.HiddenInput())

    def __init__(self, query: QueryDict) -> None:
        super().__init__(query)
        self._offer("provider", provider_names())
        self._offer("token", token_names())

    def _offer(self, field: str, names: list[str]) -> None:
        """Set the choices of a field. A chosen name of something that was removed is one: its runs are still there."""
        chosen = self.data.get(field, "")
        if chosen.isprintable() and chosen not in ("", *names):
            names.append(chosen)
        cast("forms.ChoiceField", self.fields[field]).choices = [("", "All"), *((name, name) for name in names)]

    def filters(self) -> RunFilters:
        """Return the chosen filters."""
        return RunFilters(**{**self.chosen, **self.moments()})
