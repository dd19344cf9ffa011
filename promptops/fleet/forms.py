"""The filters of the Fleet page, kept in its address."""

from django import forms

from promptops.fleet.enums import ServerKind, Standing
from promptops.fleet.queries.servers import ServerRow
from promptops.web.filters import FilterForm


class FleetFilterForm(FilterForm):
    """The filters of the list of servers."""

    start = end = None  # type: ignore[assignment]
    q = forms.CharField(
        label="Name or version",
        required=False,
        max_length=100,
        error_messages={"max_length": "Search for at most 100 characters."},
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "gpu-7", "autocomplete": "off"}),
    )
    label = forms.CharField(
        required=False,
        max_length=141,
        error_messages={"max_length": "A label has at most 141 characters."},
        widget=forms.TextInput(attrs={"placeholder": "zone=a", "autocomplete": "off", "spellcheck": "false"}),
    )
    state = forms.ChoiceField(
        required=False,
        choices=[
            ("", "All"),
            *Standing.choices,
            ("trouble", "All problems"),
            ("unfiltered", "Unfiltered"),
        ],
    )
    kind = forms.ChoiceField(required=False, choices=[("", "All"), *ServerKind.choices])

    def matching(self, rows: list[ServerRow]) -> list[ServerRow]:
        """Return the rows that match the filters."""
        return [row for row in rows if self._matches(row)]

    def _matches(self, row: ServerRow) -> bool:
        server, chosen = row.server, self.chosen
        words = str(chosen.get("q", "")).lower()
        if words and words not in server.name.lower() and words not in server.version.lower():
            return False
        name, equals, value = str(chosen.get("label", "")).partition("=")
        if name and not (server.labels.get(name) == value if equals else name in server.labels):
            return False
        if chosen.get("kind") and server.kind != chosen["kind"]:
            return False
        state = chosen.get("state")
        if state == "unfiltered":
            return not server.is_filtered
        if state == "trouble":
            return row.standing in (Standing.REFUSED, Standing.DRIFTED, Standing.LAGGING)
        return not state or row.standing == state
