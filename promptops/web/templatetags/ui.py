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
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import slugify
from lucide import IconDoesNotExist

from promptops.people.enums import Role
from promptops.texts import diffs, formats

register = template.Library()

REMOVED = (
    mark_safe('<del><bdi class="visually-hidden">[removed:</bdi>'),
    mark_safe('<bdi class="visually-hidden">]</bdi></del>'),
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
    Without quotes, which every page would carry twice for each module.
    """
    names = sorted(path.name for path in (settings.BASE_DIR / "static" / "js").glob("*.js"))
    return format_html_join("\n", "<link rel=modulepreload href={}>", ((static(f"js/{name}"),) for name in names))


def _time(moment: datetime | None, variant: str, text: str, title: str) -> SafeString:
    if moment is None:
        return mark_safe('<span class="faint">never</span>')
    return format_html(
        '<time datetime="{}"{} {}>{}</time>',
        formats.iso_time(moment),
        format_html(' title="{}"', title) if title else "",
        variant,
        text,
    )


@register.simple_tag(name="ago")
def ago(moment: datetime | None, hover: bool = True) -> SafeString:
    """`{% ago version.created_at %}`: "3 min ago", kept current by static/js, exact on hover; None: "never".

    `hover=False` leaves out the time on hover, in a row that has it already; static/js sets one.
    """
    local = moment and timezone.localtime(moment)
    text, title = (formats.relative_time(local, timezone.now()), formats.exact_time(local)) if local else ("", "")
    return _time(moment, "data-relative", text, title if hover else "")


@register.simple_tag(name="exact_time")
def exact_time(moment: datetime | None, hover: bool = True) -> SafeString:
    """`{% exact_time entry.at %}`: date and time to the second in the reader's zone, which is named.

    The time in UTC is shown on hover. `hover=False` leaves it out, in a row that has it already.
    """
    text = formats.exact_time(timezone.localtime(moment)) if moment else ""
    title = f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if moment and hover else ""
    return _time(moment, "data-exact", text, title)


@register.simple_tag(name="zone")
def zone(moment: datetime | None = None) -> str:
    """`{% zone %}`: the reader's time zone, such as "UTC+1", for times that stand in a list or on an axis."""
    return formats.zone(timezone.localtime(moment))


for each in (
    formats.number,
    formats.duration,
    formats.limit,
    formats.usd,
    formats.score,
    formats.odds,
    formats.in_unit,
):
    register.filter(each.__name__, each)
register.filter("seconds", lambda seconds: formats.duration(None if seconds is None else 1000 * seconds))
register.filter("share", formats.whole_percent)
register.simple_tag(formats.percent, name="percent")


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
    label: str,
    why: str = "",
    hint: str = "",
    look: str = "",
    id: str = "",
    name: str = "",
    image: str = "",
    key: str = "",
) -> dict[str, Any]:
    """`{% disabled_button "Publish v13" why="No changes to publish." %}`: a focusable button that does nothing.

    The reason is shown beside it, or elsewhere on the page: then `hint` is the id of that element. `id` defaults to the
    label, `name` is the name for screen readers if the label is not enough, `image` is an icon. `key` is the key that
    presses the button once it can be pressed.
    """
    id = slugify(id or label)
    hint = hint or f"why-not-{id}"
    return {"label": label, "why": why, "hint": hint, "look": look, "id": id, "name": name, "image": image, "key": key}


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
