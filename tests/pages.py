"""Fixtures of the tests that read pages."""

import re
from typing import Any

import pytest
from django.template.backends.django import Template
from django.utils.safestring import SafeString, mark_safe

from promptops.web import template_loader

BLOCKS = (
    "article|aside|blockquote|body|button|caption|dd|details|dialog|div|dl|dt|fieldset|figcaption|figure|footer|form|h1|h2"
    "|h3|header|hr|html|legend|li|main|nav|ol|option|p|pre|section|select|summary|table|tbody|td|template|th|thead|tr|ul"
)
template_loader.BREAK = "\n  "  # so that `unwrapped` knows the breaks of templates from those of texts
BREAK = re.compile(r"\s*\n {2,}\s*")
BEFORE_BLOCK = re.compile(rf"\0(</?(?:{BLOCKS})\b)")
AFTER_BLOCK = re.compile(rf"(</?(?:{BLOCKS})\b(?:[^<>\"']|\"[^\"]*\"|'[^']*')*>)\0")


def unwrapped(page: str) -> str:
    """Return the HTML with the indented line breaks of its templates as what a browser makes of them.

    Such a break is one space, and nothing beside the tag of a block or at the end of a tag. Line breaks of texts
    are not indented, and stay.
    """
    page = BREAK.sub("\0", page).replace("\0>", ">").replace('" >', '">')
    page = AFTER_BLOCK.sub(r"\1", BEFORE_BLOCK.sub(r"\1", page))
    return page.replace("\0", " ")


@pytest.fixture(autouse=True)
def _unwrapped_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test reads a page, not the lines of its template."""
    render = Template.render

    def unwrap(self: Template, *arguments: Any, **options: Any) -> SafeString:
        return mark_safe(unwrapped(render(self, *arguments, **options)))

    monkeypatch.setattr(Template, "render", unwrap)
