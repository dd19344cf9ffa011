"""The frame of all pages: its template tags, its partials, the colors, and the security policy."""

import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from django import forms
from django.conf import settings
from django.contrib.messages.storage.base import Message
from django.template import Context, Engine, Template
from django.template.loader import render_to_string
from django.test import Client
from lucide import IconDoesNotExist

from promptops.people.enums import Role
from promptops.runs.enums import RunStatus
from promptops.runs.tags import status_chip
from promptops.web.templatetags import ui
from tests.pages import unwrapped

NOW = datetime(2026, 11, 22, 14, 32, 5, tzinfo=UTC)
STATIC = settings.BASE_DIR / "static"
TEMPLATES = sorted((settings.BASE_DIR / "templates").rglob("*.html"))


def render(source: str, **context: object) -> str:
    return unwrapped(Template(source).render(Context(context)))


def frame_context(**more: object) -> dict[str, object]:
    """Return the context of a signed-in person's page, as the context processors make it."""
    return {
        "user": SimpleNamespace(pk=3, name="Alice <b>", username="alice", get_role_display="Editor"),
        "nav": [
            {"label": "Overview", "url": "/", "icon": "layout-dashboard", "key": "g o", "current": True},
            {"label": "Runs", "url": "/runs/", "icon": "play", "key": "g r", "current": False},
        ],
        "heads": {"revision": 12, "audit": 40, "runs": 7},
        "live_note": SimpleNamespace(by="Bob", at=NOW),
        "csrf_token": "a-token",
        **more,
    }


# ---------------------------------------------------------------- tags


def test_times_carry_the_exact_moment_for_machines_and_on_hover() -> None:
    html = render("{% ago moment %}|{% exact_time moment %}|{% ago nothing %}", moment=NOW, nothing=None)
    ago, exact, never = html.split("|")
    assert ago.startswith('<time datetime="2026-11-22T14:32:05.000Z" title="22 Nov 2026, 14:32:05 UTC" data-relative>')
    assert exact.endswith("data-exact>22 Nov 2026, 14:32:05 UTC</time>")
    assert never == '<span class="faint">never</span>'


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ 12345|number }}", "12,345"),
        ("{{ nothing|number }}", "–"),
        ("{{ 411.6|duration }}", "412 ms"),
        ("{{ 0.42|seconds }}", "420 ms"),
        ("{{ nothing|seconds }}", "–"),
        ("{{ 8000|limit }}", "8 s"),
        ("{{ 0.0042|usd }}", "$0.0042"),
        ("{{ 0.934|score }}", "0.93"),
        ("{{ 0.004|share }}", "&lt;1%"),
        ("{% percent 0.983 %}", "98.3%"),
        ("{% zone %}", "UTC"),
        ('{{ "0123456789abcdef"|short_sha }}', '<code title="0123456789abcdef">0123456789</code>'),
        ('{% chip text "warn" %}', '<span class="chip warn">&lt;b&gt;</span>'),
        ('{{ "administrator"|role_chip }}', '<span class="chip accent plain">Administrator</span>'),
        ('{{ "failed"|status_chip }}', '<span class="chip bad">failed</span>'),
        ('{% diff_summary "a b c" "a b d" %}', "1 line changed"),
    ],
)
def test_small_tags(source: str, expected: str) -> None:
    assert render(source, nothing=None, text="<b>") == expected


def test_a_disabled_button_gives_its_reason_to_touch_and_keyboard() -> None:
    html = render('{% disabled_button "Publish v2" why="No changes." %}')
    assert ' id="publish-v2" aria-disabled="true" aria-describedby="why-not-publish-v2">Publish v2</button>' in html
    assert '<span class="faint" id="why-not-publish-v2">No changes.</span>' in html
    button = render('{% disabled_button "Remove" hint="hint" %}')
    assert 'aria-describedby="hint">Remove</button>' in button
    assert "<span" not in button
    others = [path.name for path in TEMPLATES if re.search(r"<button[^>]*\sdisabled", path.read_text())]
    assert others == []


def test_every_role_and_status_has_a_chip() -> None:
    assert [role.label in ui.role_chip(role) for role in Role] == [True] * len(Role)
    assert [status.label.lower() in status_chip(status) for status in RunStatus] == [True] * len(RunStatus)


def test_icons_are_inline_hidden_and_take_the_color_of_the_text() -> None:
    html = render('{% icon "search" class="big" %}')
    assert html.startswith("<svg")
    assert 'width="16"' in html
    assert 'class="icon big"' in html
    assert 'aria-hidden="true"' in html
    assert "fill" not in html
    assert re.search(r"svg\.icon {[^}]*fill: none; stroke: currentColor;", CSS)
    with pytest.raises(IconDoesNotExist):
        render('{% icon "no-such-icon" %}')


@pytest.mark.parametrize(
    ("arguments", "x", "width"),
    [((0, 180, 720), "0.00", "25.00"), ((0, 0, 0), "0.00", "1.00"), ((1000, 1, 1000), "99.00", "1.00")],
)
def test_attempt_bars_stay_inside_the_run(arguments: tuple[float, float, float], x: str, width: str) -> None:
    assert f'<rect x="{x}%" width="{width}%"' in ui.attempt_bar(*arguments)


def test_diffs_are_escaped_and_mark_added_and_removed_text_in_words() -> None:
    html = render("{% diff old new %}", old="keep <i>this</i> here", new="keep <b>this</b> here")
    assert "<i>" not in html
    assert "<b>" not in html
    assert re.search(r"<del><bdi class=\"visually-hidden\">\[removed:</bdi>i<", html)
    assert re.search(r"<ins><bdi class=\"visually-hidden\">\[added:</bdi>b<", html)


# ---------------------------------------------------------------- partials and pages


class SampleForm(forms.Form):
    name = forms.CharField(label="Your name", help_text="As colleagues see it.")
    note = forms.CharField(required=False)
    enabled = forms.BooleanField(required=False)


def test_fields_point_to_their_hint_and_error() -> None:
    form = SampleForm({"name": ""})
    html = render('{% include "_field.html" with field=form.name %}', form=form)
    described = re.search(r'aria-describedby="([^"]+)"', html)
    assert described
    assert all(f'id="{name}"' in html for name in described[1].split())
    assert 'aria-invalid="true"' in html
    assert "(optional)" not in html
    assert "(optional)" in render('{% include "_field.html" with field=form.note %}', form=form)


def test_the_frame_shows_the_current_page_what_is_live_and_the_person() -> None:
    html = render_to_string("base.html", frame_context())
    assert re.search(r'href="/" aria-current="page" data-key="g o"', html)
    assert "r12 live" in html
    assert "by <bdi>Bob</bdi>" in html
    assert 'data-revision="12" data-audit="40" data-runs="7"' in html
    assert "Alice &lt;b&gt;" in html
    assert '{"X-CSRFToken": "a-token"}' in html
    assert '<form method="post" action="/sign-out/"' in html
    assert 'data-list="/commands/"' in html


def test_messages_become_toasts_and_errors_interrupt() -> None:
    notes = [Message(25, "Published v13."), Message(40, "It <failed>.")]
    html = render_to_string("base.html", frame_context(messages=notes))
    assert '<div class="toast success" data-toast>' in html
    assert '<div class="toast error" data-toast role="alert">' in html
    assert "It &lt;failed&gt;." in html
    assert render_to_string("_messages_oob.html", {"messages": []}).strip() == ""


@pytest.mark.parametrize("page", ["400.html", "403.html", "404.html", "413.html", "429.html", "500.html"])
def test_error_pages_need_no_context(page: str) -> None:
    """Django renders some of them without a context, when nothing else may work."""
    html = render_to_string(page)
    assert len(re.findall("<h1>", html)) == 1
    assert 'href="/"' in html


@pytest.mark.parametrize("page", ["403.html", "404.html", "429.html"])
def test_error_pages_give_the_reason(page: str) -> None:
    assert "Ask a releaser." in render_to_string(page, {"reason": "Ask a releaser."})


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(settings.BASE_DIR)))
def test_templates_obey_the_security_policy_and_compile(path: Path) -> None:
    """The policy blocks style attributes, inline scripts and handlers; hx-on and filters of events need eval."""
    source = path.read_text()
    markup = re.sub(r"{%.*?%}", "", source)  # `{% include ... with one=... %}` is not a handler
    assert not re.search(r"\sstyle\s*=", source)
    assert not re.search(r"<style\b|<script(?![^>]*\bsrc=)", source)
    assert not re.search(r"\s(on[a-z]+|hx-on[:a-z-]*)\s*=", markup)
    assert not re.search(r'hx-trigger="([^"]*,)?\s*[\w:.-]+\[', source)  # event[filter]
    assert not re.search(r"\|safe\b|autoescape off", source)
    # `data-key` says it once; keyboard.js reads nothing else and names the key to assistive technology.
    assert not re.search(r"data-(run|press|single-key)[=\s>]|aria-keyshortcuts(?!=\"Control\+K)", markup)
    Engine.get_default().from_string(source)


# ---------------------------------------------------------------- colors

CSS = (STATIC / "app.css").read_text()
TOKENS = {
    name: (light, dark)
    for name, light, dark in re.findall(r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", CSS)
}
TEXT_PAIRS = [
    *[(ink, ground) for ink in ("ink", "ink-2", "ink-3") for ground in ("bg", "panel", "sunken")],
    *[("accent", ground) for ground in ("bg", "panel", "sunken", "accent-soft")],
    *[(ink, ground) for ink in ("ink", "ink-2") for ground in ("accent-soft", "ok-soft", "warn-soft", "bad-soft")],
    *[(state, ground) for state in ("ok", "warn", "bad") for ground in ("panel", "sunken", f"{state}-soft")],
    ("ink-3", "accent-soft"),
    ("accent-ink", "accent"),
    ("on-bad", "bad"),
]


def luminance(color: str) -> float:
    """Return the relative luminance as WCAG 2.2 defines it."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of WCAG 2.2, from 1 to 21."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXT_PAIRS)
def test_text_has_the_contrast_of_wcag_aa(text: str, ground: str, theme: int) -> None:
    assert contrast(TOKENS[text][theme], TOKENS[ground][theme]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["panel", "bg", "sunken"])
@pytest.mark.parametrize("edge", ["line-strong", "accent"])
def test_borders_of_fields_and_the_focus_ring_can_be_seen(edge: str, ground: str, theme: int) -> None:
    """WCAG 2.2, 1.4.11: 3 to 1 for the outline of a control."""
    assert contrast(TOKENS[edge][theme], TOKENS[ground][theme]) >= 3.0


@pytest.mark.parametrize(
    ("headers", "sentences"),
    [
        (
            {"Origin": "https://testserver:8443"},
            [
                "sent from https://testserver:8443 ",
                "own address is http://testserver .",
                "BEHIND_PROXY=1",
                "CSRF_TRUSTED_ORIGINS",
            ],
        ),
        ({"Origin": "null"}, ["did not say which page sent the form"]),
        ({"Origin": 'http://a"><b>'}, ["sent from http://a&quot;&gt;&lt;b&gt; "]),
        (
            {"Referer": "https://console.example/prompts/?q=secret"},
            ["sent from https://console.example ", "own address is https"],
        ),
        ({"Referer": "https://["}, ["open for too long"]),
        ({}, ["open for too long"]),
    ],
)
def test_a_form_from_another_address_is_not_called_an_old_page(headers, sentences, db):
    client = Client(enforce_csrf_checks=True)
    response = client.post("/sign-in/", {"username": "a"}, headers=headers, secure="Referer" in headers)
    assert response.status_code == 403
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))
    for words in sentences:
        assert words in page
    assert ("open for too long" in page) == ("open for too long" in sentences)
    assert "secret" not in page
