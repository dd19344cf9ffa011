"""The forms of the fleet: the filters of its page, kept in the address, and the panel of the levers."""

from datetime import datetime, timedelta
from typing import Any

from django import forms

from promptops.fleet.enums import LeverKind, ServerKind, Standing
from promptops.fleet.queries.servers import ServerRow
from promptops.web.filters import FilterForm, MomentField


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


LASTS = [("15", "15 minutes"), ("60", "1 hour"), ("240", "4 hours"), ("until", "Until…")]
LAST_GOOD = "last_good"
PASS_THROUGH = f"{LeverKind.PASS_THROUGH}:"


class LeverForm(forms.Form):
    """The panel of the levers. `pull` names the lever: freeze, last_good, or pass_through: and the operation."""

    note = forms.CharField(
        required=False,
        max_length=500,
        widget=forms.TextInput(attrs={"placeholder": "Why? Everybody sees it.", "autofocus": True}),
    )
    lasts = forms.ChoiceField(label="Lasts", choices=LASTS, initial="60", required=False)
    until = MomentField("Until")
    pull = forms.CharField(required=False, max_length=60)
    revision = forms.IntegerField(required=False, min_value=1, max_value=2**31 - 1)
    expected = forms.IntegerField(required=False, min_value=0, max_value=2**31 - 1)

    def clean(self) -> dict[str, Any]:
        """Refuse "until" without a time, and a lever that there is none."""
        cleaned: dict[str, Any] = super().clean() or {}
        pull = cleaned.get("pull", "")
        if pull not in (LeverKind.FREEZE, LAST_GOOD) and not pull.startswith(PASS_THROUGH):
            raise forms.ValidationError("Choose a lever.")
        if pull != LAST_GOOD and cleaned.get("lasts") == "until" and not cleaned.get("until"):
            raise forms.ValidationError("Enter the time until which the lever lasts.")
        if pull == LAST_GOOD and (cleaned.get("revision") is None or cleaned.get("expected") is None):
            raise forms.ValidationError("Choose the revision to restore.")
        return cleaned

    def expires_at(self, now: datetime) -> datetime:
        """Return the end of the lever."""
        if self.cleaned_data["lasts"] == "until":
            until: datetime = self.cleaned_data["until"]
            return until
        return now + timedelta(minutes=int(self.cleaned_data["lasts"] or 60))

    @property
    def problem(self) -> str:
        """Return the errors as sentences; "" if the form is valid."""
        return " ".join(str(error) for errors in self.errors.values() for error in errors)
