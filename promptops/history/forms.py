"""The filters of the timeline and of the audit."""

from django import forms

from promptops.history.queries.audit import AuditFilters
from promptops.ledger import registry
from promptops.people.models import User
from promptops.prompts.models import Template
from promptops.web.filters import ActorField, FilterForm, MomentField, action_choices, kind_choices


class TimelineForm(FilterForm):
    """Which releases to list, and the moment to explain."""

    field_order = ["at", "template"]
    # Django leaves out an inherited field whose name is None.
    start = None  # type: ignore[assignment]
    end = None  # type: ignore[assignment]
    at = MomentField("What was live at")
    template = forms.ModelChoiceField(
        Template.objects.order_by("name"), required=False, empty_label="All", to_field_name="name"
    )

    @property
    def address(self) -> dict[str, str]:
        """The query that names the same for everybody, whatever their time zone."""
        moment = self.given.get("at")
        return {"at": f"{moment:%Y-%m-%dT%H:%M:%S}Z"} if moment else {}


class AuditFilterForm(FilterForm):
    """Which audit entries to list."""

    field_order = ["q", "actor", "action", "type", "object", "start", "end"]
    q = forms.CharField(
        label="Search",
        required=False,
        max_length=100,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Words of a sentence or a note"}),
    )
    actor = ActorField()
    action = forms.ChoiceField(label="What", required=False, choices=action_choices)
    type = forms.ChoiceField(label="Kind of object", required=False, choices=kind_choices)
    object = forms.CharField(
        required=False, max_length=200, widget=forms.TextInput(attrs={"placeholder": "Part of its name"})
    )

    def filters(self) -> AuditFilters:
        """What the list is narrowed to."""
        actor, action = self.given.get("actor"), self.given.get("action")
        return AuditFilters(
            actor=actor if isinstance(actor, User) else None,
            system=actor if isinstance(actor, str) else "",
            actions=registry.names(lambda each: action in (each.name, each.noun)),
            object_type=self.given.get("type", ""),
            object_name=self.given.get("object", ""),
            words=tuple(filter(None, (word.strip("(),:;") for word in self.given.get("q", "").split()))),
            **self.moments(),
        )
