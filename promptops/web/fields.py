"""Form fields that pages of several features share."""

from decimal import Decimal
from typing import Any

from django import forms


class SecondsField(forms.DecimalField):
    """A time that people enter in seconds, with up to three decimals. Its value is a whole number of milliseconds."""

    def __init__(self, *, min_ms: int, max_ms: int, **options: Any) -> None:
        bounds = {"min_value": Decimal(min_ms) / 1000, "max_value": Decimal(max_ms) / 1000}
        super().__init__(**options, **bounds, decimal_places=3)  # type: ignore[arg-type]

    def prepare_value(self, value: Any) -> Any:
        """Return stored milliseconds in seconds, and what a person typed as it is."""
        return in_seconds(value) if isinstance(value, int) else value

    def clean(self, value: Any) -> Any:
        """Return the milliseconds, None if nothing was entered."""
        seconds = super().clean(value)
        return None if seconds is None else int(seconds * 1000)


def in_seconds(milliseconds: int) -> str:
    """Return milliseconds in seconds, without separators, as a field shows them: "0.25"."""
    return f"{milliseconds / 1000:.10g}"
