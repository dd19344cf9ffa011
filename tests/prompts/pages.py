"""Requests to the pages of templates, for several test modules. Fixtures are in `conftest`."""

import re

from django.urls import reverse

from promptops.prompts.models import DiscardedDraft, Draft, Template


def form(template: Template, body: str, **fields) -> dict:
    """Return the fields of the editor's form, based on the live version."""
    base = template.live_version_id or ""
    return {"body": body, "base": base, "temperature": "", "max_tokens": "", "model": ""} | fields


def text_of(response) -> str:
    """Return the text of a page without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def post(client, name: str, template: Template, body: str = "", **fields):
    """Post the editor's form, or nothing without a `body`."""
    return client.post(reverse(name, args=[template.name]), form(template, body, **fields) if body else {})


def drafts() -> list[str]:
    """Return the text of the draft, then of the discarded ones, newest first."""
    return [row.body for model in (Draft, DiscardedDraft) for row in model.objects.all()]


def restore(client, template: Template, text: str, body: str = "", **fields):
    """Restore the discarded draft with this `text`, while the editor has `body`."""
    url = reverse("template_restore_draft", args=[template.name, DiscardedDraft.objects.get(body=text).pk])
    return client.post(url, form(template, body, **fields) if body else {})


def window(client, template: Template) -> dict:
    """Open the editor and return the hidden fields that it sends with each text."""
    page = client.get(reverse("template", args=[template.name])).content.decode()
    return {name: re.search(rf'name="{name}"(?: value="([^"]*)")?', page)[1] or "" for name in ("page", "seen")}
