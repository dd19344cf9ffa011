"""The filters of the timeline and of the audit. Fields that other lists share are in `web.filters`."""

from django import forms

from promptops.history.queries.audit import AuditFilters
from promptops.ledger import registry
from promptops.people.models import User
from promptops.prompts.models import Template
from promptops.web.filters import ActorField, FilterForm, MomentField, NameField, action_choices, kind_choices


class TimelineForm(FilterForm):
    """The filters of the timeline: a moment and a template."""

    field_order = ["at", "template"]
    # Django leaves out an inherited field whose name is None.
    start = None  # type: ignore[assignment]
    end = None  # type: ignore[assignment]
    at = MomentField("What was live at")
    template = NameField(Template.objects.order_by("name"), suggestions="template_names")

    @property
    def address(self) -> dict[str, str]:
        """Return the moment as a query in UTC, which means the same in every time zone."""
        moment = self.chosen.get("at")
        return {"at": f"{moment:%Y-%m-%dT%H:%M:%S}Z"} if moment else {}


class AuditFilterForm(FilterForm):
    """The filters of the audit."""

    field_order = ["q", "actor", "action", "type", "object", "start", "end"]
    q = forms.CharField(
        label="Search",
        required=False,
        max_length=100,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Words of a sentence or note"}),
    )
    actor = ActorField()
    action = forms.ChoiceField(label="What", required=False, choices=action_choices)
    type = forms.ChoiceField(label="Kind of object", required=False, choices=kind_choices)
    object = forms.CharField(
        required=False, max_length=200, widget=forms.TextInput(attrs={"placeholder": "Part of its name"})
    )

    def filters(self) -> AuditFilters:
        """Return the valid filters."""
        actor, action = self.chosen.get("actor"), self.chosen.get("action")
        return AuditFilters(
            actor=actor if isinstance(actor, User) else None,
            system=actor if isinstance(actor, str) else "",
            actions=registry.names(lambda each: action in (each.name, each.noun)),
            object_type=self.chosen.get("type", ""),
            object_name=self.chosen.get("object", ""),
            words=tuple(filter(None, (word.strip("(),:;") for word in self.chosen.get("q", "").split()))),
            **self.moments(),
        )
