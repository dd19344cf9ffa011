"""Values as people read them: one function for each kind of value. Pure.

static/js/format.js has those that scripts need. tests/data/formats.json has cases for both.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

DASH = "–"
MINUTE, HOUR, DAY = 60, 3600, 86400
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""Python and browsers disagree on short names of months."""


def number(value: float | str | None) -> str:
    """Return 12345 as "12,345", None as a dash, and a string, such as the value of a form's field, as it is."""
    if isinstance(value, str):
        return value
    return DASH if value is None else f"{value:,}"


def duration(milliseconds: float | None) -> str:
    """Return a measured time: "412 ms", "1.3 s", "2 min 5 s", "1 h 5 min"; None as a dash."""
    if milliseconds is None:
        return DASH
    if milliseconds < 999.5:
        return "<1 ms" if 0 < milliseconds < 0.5 else f"{milliseconds:.0f} ms"
    if milliseconds < 59_950:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {seconds} s"


def limit(milliseconds: float | None) -> str:
    """Return a time that a person set, in seconds and exact: "8 s", "0.25 s", "600 s"; None as a dash."""
    return DASH if milliseconds is None else f"{milliseconds / 1000:,.6g} s"


def usd(amount: float | None) -> str:
    """Return an amount in USD to the cent, below 10 cents with two significant digits: "$1.84", "$0.0042".

    None is a dash.
    """
    if amount is None:
        return DASH
    if amount == 0 or amount >= 0.0995:
        return f"${amount:,.2f}"
    if amount < 0.00001:
        return "<$0.00001"
    return f"${amount:.{1 - math.floor(math.log10(float(f'{amount:.1e}')))}f}"


def score(value: float | None) -> str:
    """Return a score or threshold with two decimals: "0.93"; None as a dash."""
    return DASH if value is None else f"{value:.2f}"


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share from 0 to 1 in percent: "98.3%", "0%", "<0.1%", ">99.9%", "100%"; None as a dash."""
    if share is None:
        return DASH
    if share in (0, 1):
        return f"{100 * share:.0f}%"
    least = 10.0**-digits
    if 100 * share < least / 2:
        return f"<{least:.{digits}f}%"
    return f">{100 - least:.{digits}f}%" if 100 - 100 * share < least / 2 else f"{100 * share:.{digits}f}%"


def whole_percent(share: float | None) -> str:
    """Return a share from 0 to 1 in whole percent: "63%", "<1%", ">99%"; None as a dash."""
    if share is None:
        return DASH
    if 0 < share < 0.005 or 0.995 < share < 1:
        return "<1%" if share < 0.5 else ">99%"
    return f"{100 * share:.0f}%"


def odds(share: float | None) -> str:
    """Return a share from 0 to 1 as people say it: "no", "about 1 of 140", "about 6 of 10", "all"; None as a dash."""
    if share is None:
        return "–"
    if share <= 0 or share >= 1:
        return "all" if share >= 1 else "no"
    if share < 0.15:
        among = float(f"{1 / share:.2g}")
        return f"about 1 of {among:,.0f}"
    return f"about {round(10 * share)} of 10" if share < 0.95 else "more than 9 of 10"


def zone(moment: datetime) -> str:
    """Return the distance of a moment's zone from UTC: "UTC", "UTC+1", "UTC-3:30"."""
    offset = moment.utcoffset()
    minutes = round(offset.total_seconds() / 60) if offset else 0
    if not minutes:
        return "UTC"
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'+' if minutes > 0 else '-'}{hours}{f':{rest:02}' if rest else ''}"


def date(moment: datetime) -> str:
    """Return the day of a moment in its own zone: "22 Nov 2026"."""
    return f"{moment.day} {MONTHS[moment.month - 1]} {moment.year}"


def exact_time(moment: datetime) -> str:
    """Return a moment to the second in its own zone, which is named: "22 Nov 2026, 14:32:05 UTC+1"."""
    return f"{date(moment)}, {moment:%H:%M:%S} {zone(moment)}"


def iso_time(moment: datetime) -> str:
    """Return a moment as scripts read it, in UTC and milliseconds: browsers know no microseconds."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def relative_time(moment: datetime, now: datetime) -> str:
    """Return how long ago `moment` was, as of `now`.

    Up to 30 days either way in words ("just now", "3 min ago", "in 2 days"), otherwise the date in its zone.
    """
    seconds = (now - moment).total_seconds()
    size = abs(seconds)
    if size < 45:
        return "just now"
    if size >= 30 * DAY:
        return date(moment)
    if size < 45 * MINUTE:
        amount = f"{max(1, round(size / MINUTE))} min"
    elif size < 22 * HOUR:
        amount = f"{max(1, round(size / HOUR))} h"
    else:
        days = max(1, round(size / DAY))
        amount = "1 day" if days == 1 else f"{days} days"
    return f"{amount} ago" if seconds > 0 else f"in {amount}"


def in_unit(value: float | None, unit: str) -> str:
    """Return a value of a chart in its unit, which is "ms", "usd", "percent" (0 to 100) or "count"."""
    if unit == "ms":
        return duration(value)
    if unit == "usd":
        return usd(value)
    if unit == "percent":
        return percent(None if value is None else value / 100)
    return number(value)


def axis(values: Sequence[float], unit: str) -> list[str]:
    """Return the marks of an axis, all in one unit and with the same decimals. Units are those of `in_unit`."""
    scale, before, after = {"ms": (1.0, "", " ms"), "usd": (1.0, "$", ""), "percent": (1.0, "", "%")}.get(
        unit, (1.0, "", "")
    )
    if unit == "ms" and max(values, default=0) >= 1000:
        scale, after = 1000.0, " s"
    decimals = max((_decimals(value / scale) for value in values), default=0)
    if unit == "usd" and decimals == 1:
        decimals = 2
    return [f"{before}{value / scale:,.{decimals}f}{after}" for value in values]


def _decimals(value: float) -> int:
    """Return how many decimals a round value needs."""
    return len(f"{value:.9f}".rstrip("0").partition(".")[2])
