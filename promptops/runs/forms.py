"""Forms of the Runs page and of the "Try it" panel."""

from typing import cast

from django import forms
from django.http import QueryDict

from promptops.engine.drills import FAULTS
from promptops.people.models import User
from promptops.prompts.enums import operation_choices
from promptops.prompts.models import Template
from promptops.runs.enums import RunSource, RunStatus
from promptops.runs.plans import MAX_COUNT
from promptops.runs.queries.runs import RunFilters, provider_names
from promptops.web.filters import FilterForm


class TryForm(forms.Form):
    """The "Try it" panel: what to run (`editor` or a version's number), where (`chain` or a provider's id), on what."""

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


class RunFilterForm(FilterForm):
    """Which runs to list."""

    field_order = [
        "operation",
        "template",
        "status",
        "safety",
        "source",
        "user",
        "provider",
        "revision",
        "start",
        "end",
        "since",
        "until",
    ]
    operation = forms.ChoiceField(required=False, choices=lambda: [("", "All"), *operation_choices()])
    status = forms.ChoiceField(required=False, choices=[("", "All"), *RunStatus.choices])
    safety = forms.ChoiceField(
        required=False,
        choices=[
            ("", "All"),
            ("blocked", "Blocked"),
            ("masked", "Blocked, or would have been"),
            ("not_judged", "Not judged"),
            ("harmful", "Found harmful"),
            ("too_long", "Too long to judge"),
            ("language", "Unknown language"),
            ("down", "Filter was down"),
        ],
    )
    source = forms.ChoiceField(required=False, choices=[("", "All"), *RunSource.choices])
    template = forms.ModelChoiceField(
        Template.objects.order_by("name"), required=False, empty_label="All", to_field_name="name"
    )
    user = forms.ModelChoiceField(
        User.objects.order_by("name", "pk"), label="Person", required=False, empty_label="All", to_field_name="username"
    )
    provider = forms.ChoiceField(label="Provider asked", required=False)
    revision = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=10**9,
        widget=forms.NumberInput(attrs={"placeholder": "Number"}),
        error_messages={"invalid": "Give the number alone, such as 12."},
    )
    # The exact span of a link from the Safety page: days are too coarse for it.
    since = forms.DateTimeField(required=False, widget=forms.HiddenInput())
    until = forms.DateTimeField(required=False, widget=forms.HiddenInput())

    def __init__(self, query: QueryDict) -> None:
        super().__init__(query)
        names = provider_names()
        asked = query.get("provider", "")
        if asked.isprintable() and asked not in ("", *names):
            names.append(asked)  # a removed provider is in no list, but its runs can still be asked for
        cast("forms.ChoiceField", self.fields["provider"]).choices = [("", "All"), *((name, name) for name in names)]

    def filters(self) -> RunFilters:
        """What the list is narrowed to."""
        return RunFilters(**{**self.given, **self.moments()})
