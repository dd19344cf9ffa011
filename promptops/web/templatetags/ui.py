"""The template tags and filters that pages share. Settings make them builtins, so no page has to load them.

Tags of one feature are in the `tags` of the feature.
"""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any
from xml.etree import ElementTree
from zipfile import ZipFile

from django import template
from django.conf import settings
from django.template.defaultfilters import floatformat
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import slugify
from lucide import IconDoesNotExist

from promptops.people.enums import Role
from promptops.texts import diffs
from promptops.texts.numbers import whole_percent

register = template.Library()

MINUTE, HOUR, DAY = 60, 3600, 86400
REMOVED = (
    mark_safe('<del><span class="visually-hidden">[removed:</span>'),
    mark_safe('<span class="visually-hidden">]</span></del>'),
)


@cache
def _icon_archive() -> ZipFile:
    """Return Lucide's archive of icons. It stays open: reading its directory takes 8 ms, an icon 0.1 ms."""
    return ZipFile((files("lucide") / "lucide.zip").open("rb"))


@lru_cache(maxsize=256)
def _icon(name: str, size: int, css_class: str) -> SafeString:
    try:
        svg = ElementTree.fromstring(_icon_archive().read(f"{name}.svg"))  # noqa: S314 -- of a package that we install
    except KeyError:
        raise IconDoesNotExist(f"The icon {name!r} does not exist.") from None
    for node in svg.iter():
        node.tag = node.tag.rpartition("}")[2]  # inline SVG needs no namespace
        node.text = node.tail = None
    # The strokes are in app.css, because a page has dozens of icons.
    svg.attrib = {"width": str(size), "height": str(size), "viewBox": svg.attrib["viewBox"], "class": css_class}
    svg.attrib["aria-hidden"] = "true"
    return mark_safe(ElementTree.tostring(svg, encoding="unicode"))  # noqa: S308 -- serialized, so escaped


@register.simple_tag(name="icon")
def icon(name: str, size: int = 16, **attributes: str) -> SafeString:
    """`{% icon "search" %}`: a Lucide icon as inline SVG, hidden from screen readers, in the color of the text.

    Takes `size` in pixels and `class`. An unknown name raises `lucide.IconDoesNotExist`.
    """
    return _icon(str(name), size, f"icon {attributes.get('class', '')}".strip())


@register.simple_tag(name="module_preloads")
@lru_cache(maxsize=1)
def module_preloads() -> SafeString:
    """`{% module_preloads %}`: a link for each module in static/js, so that the browser loads all of them at once.

    Otherwise the browser would find a module only after it has loaded the one that imports it.
    """
    names = sorted(path.name for path in (settings.BASE_DIR / "static" / "js").glob("*.js"))
    return format_html_join("\n", '<link rel="modulepreload" href="{}">', ((static(f"js/{name}"),) for name in names))


def relative(moment: datetime, now: datetime) -> str:
    """Return how long ago `moment` was, in words, as of `now`; static/js/format.js has the same rule.

    Up to 30 days either way in words ("just now", "3 min ago", "in 2 days"), otherwise the date.
    """
    seconds = (now - moment).total_seconds()
    size = abs(seconds)
    if size < 45:
        return "just now"
    if size >= 30 * DAY:
        return f"{moment.day} {moment:%b %Y}"
    if size < 45 * MINUTE:
        amount = f"{max(1, round(size / MINUTE))} min"
    elif size < 22 * HOUR:
        amount = f"{max(1, round(size / HOUR))} h"
    else:
        days = max(1, round(size / DAY))
        amount = "1 day" if days == 1 else f"{days} days"
    return f"{amount} ago" if seconds > 0 else f"in {amount}"


def _time(moment: datetime | None, variant: str, text: str, *, hover: bool = True) -> SafeString:
    if moment is None:
        return mark_safe('<span class="faint">never</span>')
    return format_html(
        '<time datetime="{}"{} {}>{}</time>',
        f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",  # browsers know no microseconds
        format_html(' title="{}"', f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC") if hover else "",
        variant,
        text,
    )


@register.simple_tag(name="ago")
def ago(moment: datetime | None, hover: bool = True) -> SafeString:
    """`{% ago version.created_at %}`: "3 min ago", kept current by static/js, exact on hover; None: "never".

    `hover=False` leaves out the time in UTC on hover, in a row that has it already; static/js sets one.
    """
    return _time(moment, "data-relative", relative(moment, timezone.now()) if moment else "", hover=hover)


@register.simple_tag(name="exact_time")
def exact_time(moment: datetime | None, hover: bool = True) -> SafeString:
    """`{% exact_time entry.at %}`: date and time to the second in the reader's zone (UTC without JavaScript).

    `hover=False` leaves out the time in UTC on hover, in a row that has it already.
    """
    text = f"{moment.astimezone(UTC):%-d %b %Y, %H:%M:%S} UTC" if moment else ""
    return _time(moment, "data-exact", text, hover=hover)


@register.filter(name="number")
def number(value: int | float | str | None) -> str:
    """Return 12345 as "12,345", None as a dash, and a string, such as the value of a form's field, as it is."""
    if isinstance(value, str):
        return value
    return "–" if value is None else f"{value:,}"


@register.filter(name="duration")
def duration(milliseconds: float | None) -> str:
    """Return milliseconds as people read them: "412 ms", "1.3 s", "2 min 5 s"; None as a dash."""
    if milliseconds is None:
        return "–"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 59_950:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    return f"{minutes} min {seconds} s"


@register.filter(name="usd")
def usd(amount: float | None) -> str:
    """Return an amount in USD with as many digits as it needs: "$0.00004", "$1.84"; None as a dash."""
    if amount is None:
        return "–"
    if amount >= 0.1 or amount == 0:
        return f"${amount:,.2f}"
    return "<$0.00001" if amount < 0.00001 else f"${amount:.5f}".rstrip("0")


@register.filter(name="share")
def share(value: float | None) -> str:
    """Return a share from 0 to 1 in percent: "63%", "<1%", ">99%"; None as a dash."""
    return "–" if value is None else whole_percent(value)


@register.filter(name="in_unit")
def in_unit(value: float | None, unit: str) -> str:
    """Return a value of a chart in its unit, which is "ms", "usd", "percent" or "count"."""
    if unit == "ms":
        return duration(value)
    if unit == "usd":
        return usd(value)
    return floatformat(value, "-1g") + ("%" if unit == "percent" else "")


@register.filter(name="one_line", is_safe=True)
def one_line(text: str) -> str:
    """Return the text with each run of spaces and line breaks as one space, and none at its ends.

    `{% filter one_line %}` lets a long attribute or a chip take several lines of a template.
    """
    return re.sub(r"[ \t\r\n\f]+", " ", text).strip(" ")


@register.filter(name="short_sha")
def short_sha(sha: str) -> SafeString:
    """Return the first ten characters of a hash, with the whole hash on hover."""
    return format_html('<code title="{}">{}</code>', sha, sha[:10])


@register.simple_tag(name="chip")
def chip(text: object, state: str = "") -> SafeString:
    """`{% chip "healthy" "ok" %}`: a small label; `state`: ok, warn, bad, accent, plain (no dot) or none (gray dot)."""
    return format_html('<span class="chip {}">{}</span>', state, text)


@register.filter(name="role_chip")
def role_chip(role: str) -> SafeString:
    """Return the chip of a role."""
    return chip(Role(role).label, "accent plain" if role == Role.ADMINISTRATOR else "plain")


@register.filter(name="category_words")
def category_words(category: str) -> str:
    """Return a safety category as people read it: "self_harm" as "self-harm"."""
    return str(category).replace("_", "-")


@register.simple_tag(name="percent")
def percent(share: float | None, digits: int = 1) -> str:
    """`{% percent 0.983 %}`: "98.3%"; None as a dash."""
    return "–" if share is None else f"{100 * share:.{digits}f}%"


@register.simple_tag(name="threshold_bar")
def threshold_bar(score: float, threshold: float | None) -> SafeString:
    """`{% threshold_bar 0.93 0.8 %}`: a score as a bar, with its category's threshold marked on it.

    Without a threshold the bar has no color of a state.
    """
    state = " plain" if threshold is None else " failed" if score >= threshold else ""
    bar = format_html('<rect width="{}%" height="100%" rx="2"/>', f"{100 * min(max(score, 0.0), 1.0):.1f}")
    if threshold is not None:
        at = f"{100 * min(max(threshold, 0.0), 1.0):.1f}"
        bar += format_html('<line x1="{}%" x2="{}%" y1="-3" y2="11"/>', at, at)
    return format_html('<svg class="track{}" aria-hidden="true">{}</svg>', state, bar)


@register.simple_tag(name="attempt_bar")
def attempt_bar(start: float, length: float, total: float, failed: bool = False) -> SafeString:
    """`{% attempt_bar start_ms length_ms total_ms failed %}`: when in the run the attempt took place, as a bar.

    It is SVG, because the content security policy forbids style attributes. At least 1% of the width stays visible.
    """
    whole = max(total, start + length, 1)
    width = max(100 * length / whole, 1)
    return format_html(
        '<svg class="track{}" aria-hidden="true"><rect x="{}%" width="{}%" height="100%" rx="2"/></svg>',
        " failed" if failed else "",
        f"{min(100 * start / whole, 100 - width):.2f}",
        f"{width:.2f}",
    )


@register.inclusion_tag("_disabled_button.html", name="disabled_button")
def disabled_button(
    label: str, why: str = "", hint: str = "", look: str = "", id: str = "", name: str = "", image: str = ""
) -> dict[str, Any]:
    """`{% disabled_button "Publish v13" why="No changes to publish." %}`: a focusable button that does nothing.

    The reason is shown beside it, or elsewhere on the page: then `hint` is the id of that element. `id` defaults to the
    label, `name` is the name for screen readers if the label is not enough, `image` is an icon.
    """
    id = slugify(id or label)
    hint = hint or f"why-not-{id}"
    return {"label": label, "why": why, "hint": hint, "look": look, "id": id, "name": name, "image": image}


@register.inclusion_tag("_diff.html", name="diff")
def diff(old: str, new: str, context: int = 2) -> dict[str, Any]:
    """`{% diff old.body new.body %}`: the difference, word by word inside changed lines, unchanged runs folded."""
    lines = diffs.diff_lines(old, new)
    return {"rows": diffs.fold(lines, context=context), "summary": diffs.summary(lines)}


@register.filter(name="marked")
def marked(pieces: tuple[diffs.Piece, ...]) -> SafeString:
    """Return the pieces as HTML, inserted ones as `<ins>`. A page has a thousand, too many for a loop in a template."""
    # Python's own escaping; Django's wraps it twice, which takes longer.
    parts = [
        f"<ins>{html.escape(piece.text)}</ins>" if piece.kind == "insert" else html.escape(piece.text)
        for piece in pieces
    ]
    return mark_safe("".join(parts))  # noqa: S308 -- each text is escaped


@register.filter(name="struck")
def struck(pieces: list[tuple[str, bool]]) -> SafeString:
    """Return the pieces as HTML, the removed ones as `<del>`, which screen readers announce."""
    return format_html(
        '<span class="pre">{}</span>',
        format_html_join(
            "",
            "{}{}{}",
            ((REMOVED[0], text, REMOVED[1]) if is_removed else ("", text, "") for text, is_removed in pieces),
        ),
    )


@register.simple_tag(name="diff_summary")
def diff_summary(old: str, new: str) -> str:
    """`{% diff_summary old new %}`: "2 lines changed"."""
    return diffs.summary(diffs.diff_lines(old, new))
